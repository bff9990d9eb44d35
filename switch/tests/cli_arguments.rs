//! The command line of `shunt` and `shuntd`, without a daemon.

use std::io::Write;
use std::process::Command as Process;

use clap::{CommandFactory, Parser};
use shunt_switch::cli::change::{Change, sentence};
use shunt_switch::cli::options::{Command, Options, Show};
use shunt_switch::cli::{Failure, man};
use shunt_switch::control::api::proto;
use shunt_switch::daemon;

fn change(words: &[&str]) -> Result<Option<Change>, Failure> {
    let options = Options::try_parse_from([&["shunt"], words].concat()).unwrap();
    Change::of(&options.command)
}

#[test]
fn clap_finds_nothing_wrong_with_the_descriptions() {
    Options::command().debug_assert();
    daemon::Options::command().debug_assert();
}

#[test]
fn changes_of_ports_become_requests() {
    let name = || "n0".to_owned();
    let pair = |key: &str, value: &str| proto::KeyValue { key: key.into(), value: value.into() };
    let keys = vec![pair("name", "n0"), pair("kind", "dpdk"), pair("devargs", "net_null0,no-rx=1")];
    let added = change(&["port", "add", "n0", "kind=dpdk", "devargs=net_null0,no-rx=1"]);
    assert_eq!(added, Ok(Some(Change::Add(proto::AddPortRequest { keys }))));
    for (word, wanted) in [
        ("del", Change::Delete(proto::DeletePortRequest { name: name() })),
        ("up", Change::Set(proto::SetPortRequest { name: name(), up: true })),
        ("down", Change::Set(proto::SetPortRequest { name: name(), up: false })),
        ("reset", Change::Reset(proto::ResetPortRequest { name: name() })),
    ] {
        assert_eq!(change(&["port", word, "n0"]), Ok(Some(wanted)), "{word}");
    }
    assert_eq!(change(&["show", "ports"]), Ok(None));
}

#[test]
fn words_that_are_not_key_and_value_are_all_named() {
    let failure = change(&["port", "add", "n0", "kind=dpdk", "devargs", "=x"]).unwrap_err();
    assert_eq!(failure.code, 2);
    assert_eq!(
        failure.message,
        "argument 3: \"devargs\" is not key=value; write it as kind=veth\n\
         argument 4: \"=x\" is not key=value; write it as kind=veth"
    );
}

#[test]
fn a_file_is_sent_whole_with_its_name() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(b"[workers]\ncount = 1\n").unwrap();
    let path = file.path().to_str().unwrap().to_owned();
    let path = path.as_str();
    let request = proto::ApplyRequest { toml: "[workers]\ncount = 1\n".into(), origin: path.into() };
    assert_eq!(change(&["apply", path]), Ok(Some(Change::Apply(request))));

    file.write_all(b"\xff").unwrap();
    let failure = change(&["apply", path]).unwrap_err();
    assert_eq!(
        (failure.code, failure.message),
        (2, format!("{path}: not valid UTF-8; save the file as UTF-8 text"))
    );

    let missing = format!("{path}.missing");
    let failure = change(&["apply", &missing]).unwrap_err();
    assert_eq!(failure.code, 2);
    assert!(failure.message.starts_with(&format!("shunt: cannot read {missing}: ")), "{}", failure.message);
}

#[test]
fn objects_are_told_from_a_configuration_by_name_or_first_words() {
    let file = |suffix: &str, text: &str| {
        let mut file = tempfile::Builder::new().suffix(suffix).tempfile().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        file
    };
    for (suffix, text, objects) in [
        (".yaml", "---\n", true),
        (".YML", "", true),
        ("", "# a subnet\napiVersion: kubeovn.io/v1\n", true),
        (".toml", "[workers]\ncount = 1\n", false),
        ("", "", false),
    ] {
        let file = file(suffix, text);
        let path = file.path().to_str().unwrap();
        for words in [&["apply", path][..], &["apply", "-f", path], &["apply", "--filename", path]] {
            let found = change(words).unwrap().unwrap();
            let (text, origin) = (text.to_owned(), path.to_owned());
            let wanted = match objects {
                true => Change::Objects(proto::ApplyObjectsRequest { yaml: text, origin }),
                false => Change::Apply(proto::ApplyRequest { toml: text, origin }),
            };
            assert_eq!(found, wanted, "{words:?}");
        }
    }
    for words in [&["shunt", "apply"][..], &["shunt", "apply", "a", "-f", "b"]] {
        assert_eq!(Options::try_parse_from(words).unwrap_err().exit_code(), 2, "{words:?}");
    }
}

#[test]
fn options_stand_before_or_after_the_command() {
    for words in [
        ["shunt", "--json", "--socket", "/s", "show", "drops"],
        ["shunt", "show", "drops", "--socket", "/s", "--json"],
    ] {
        let options = Options::try_parse_from(words).unwrap();
        assert!(options.json);
        assert_eq!(options.socket.to_str(), Some("/s"));
        assert!(matches!(options.command, Command::Show { what: Show::Drops }));
    }
}

#[test]
fn wrong_usage_exits_with_2() {
    for words in [
        &["shunt"][..],
        &["shunt", "port", "add", "n0"],
        &["shunt", "show", "ports", "--watch", "0"],
        &["shunt", "show", "nothing"],
    ] {
        assert_eq!(Options::try_parse_from(words).unwrap_err().exit_code(), 2, "{words:?}");
    }
}

#[test]
fn what_was_done_is_one_line() {
    let applied = |added: &[&str], removed: &[&str], changed: &[&str]| {
        let names = |names: &[&str]| names.iter().map(ToString::to_string).collect();
        let (added, removed, changed) = (names(added), names(removed), names(changed));
        sentence(&proto::Applied { generation: 7, added, removed, changed, notes: Vec::new() })
    };
    assert_eq!(applied(&["a", "b"], &["c"], &["d"]), "generation 7: added a, b; removed c; changed d\n");
    assert_eq!(applied(&[], &[], &[]), "generation 7: no port changed\n");
    let noted =
        proto::Applied { generation: 7, notes: vec!["a".into(), "b".into()], ..proto::Applied::default() };
    assert_eq!(sentence(&noted), "generation 7: no port changed\nnote: a\nnote: b\n");
}

#[test]
fn the_manual_has_every_command_and_option() {
    let page = String::from_utf8(man::page(Options::command())).unwrap().replace('\\', "");
    for command in [
        "apply",
        "show ports",
        "show config",
        "port add",
        "port reset",
        "dump-flows",
        "trace",
        "health",
        "completion",
        "man",
    ] {
        assert!(page.contains(&format!(".TP\nfBshunt {command}fR")), "{command} in {page}");
    }
    for text in ["--socket", "--json", "--watch <SECONDS>", "Exit codes:"] {
        assert!(page.contains(text), "{text} in {page}");
    }
    let page = String::from_utf8(man::page(daemon::Options::command())).unwrap().replace('\\', "");
    for text in [".TH shuntd 8", "--config", "--check", "--strict", "SIGHUP reads --config again"] {
        assert!(page.contains(text), "{text} in {page}");
    }
}

fn shunt(words: &[&str]) -> (Option<i32>, String, String) {
    let output = Process::new(env!("CARGO_BIN_EXE_shunt")).args(words).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

#[test]
fn completion_scripts_know_every_command() {
    let commands: Vec<String> =
        Options::command().get_subcommands().map(|command| command.get_name().to_owned()).collect();
    for (shell, begins) in
        [("bash", "_shunt() {"), ("zsh", "#compdef shunt"), ("fish", "# Print an optspec for argparse")]
    {
        let (code, script, said) = shunt(&["completion", shell]);
        assert_eq!((code, said.as_str()), (Some(0), ""), "{shell}");
        assert!(script.starts_with(begins), "{shell}: {script}");
        assert!(commands.len() > 15 && script.contains("socket"), "{shell}: {commands:?}");
        for command in &commands {
            assert!(script.contains(command), "{shell} does not know {command}");
        }
    }
    let (code, script, said) = shunt(&["completion", "tcsh"]);
    assert_eq!((code, script.as_str()), (Some(2), ""));
    assert!(said.contains("bash") && said.contains("zsh") && said.contains("fish"), "{said}");
}

/// The script at work, as the shell runs it when a person presses the tabulator.
#[test]
fn bash_completes_commands_and_their_words() {
    let complete = |words: &[&str]| {
        let line = words.iter().map(|word| format!("'{word}'")).collect::<Vec<_>>().join(" ");
        let script = format!(
            "source <({} completion bash); COMP_WORDS=({line}); COMP_CWORD={}; _shunt shunt '{}' '{}'; printf '%s\n' \"${{COMPREPLY[@]}}\"",
            env!("CARGO_BIN_EXE_shunt"),
            words.len() - 1,
            words[words.len() - 1],
            words[words.len() - 2],
        );
        let output = Process::new("bash").args(["--norc", "-c", &script]).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(complete(&["shunt", "tcpd"]), ["tcpdump"]);
    assert_eq!(complete(&["shunt", "show", "gen"]), ["generations"]);
    assert_eq!(complete(&["shunt", "--js"]), ["--json"]);
    let port = complete(&["shunt", "port", ""]);
    for word in ["add", "del", "up", "down", "reset"] {
        assert!(port.iter().any(|found| found == word), "{word} in {port:?}");
    }
}

#[test]
fn frames_as_json_and_as_pcapng_at_once_are_refused() {
    let (code, out, said) = shunt(&["--socket", "/nowhere", "--json", "tcpdump", "-w", "/tmp/never.pcapng"]);
    assert_eq!((code, out.as_str()), (Some(2), ""));
    assert!(said.contains("give one of the two"), "{said}");
    assert!(!std::path::Path::new("/tmp/never.pcapng").exists());
}
