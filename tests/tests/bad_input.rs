//! Mistakes and missing things: one line each that says what to do, and the exit code that scripts go by.

mod node;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::path::Path;

use node::{Kind, MEMORY, Node, Plan};
use shunt_tests::shuntd::binary;
use shunt_tests::{Cmd, Netns, Output, Shuntd, require};

/// Runs the daemon to its end on a configuration that it should not start with.
#[track_caller]
fn refused(netns: &Netns, dir: &Path, config: &str, options: &[&str]) -> Output {
    let file = dir.join("shunt.toml");
    fs::write(&file, config).unwrap();
    let program = binary("shuntd").unwrap();
    let text = |path: &Path| path.to_string_lossy().into_owned();
    let mut argv: Vec<String> =
        vec![text(&program), "--config".into(), text(&file), "--socket".into(), text(&dir.join("s"))];
    argv.extend(options.iter().map(|&option| option.to_owned()));
    Cmd::new(argv).within(netns).run().unwrap()
}

/// The lines of a refusal that are errors, without what was logged on the way.
fn errors(output: &Output) -> Vec<&str> {
    let logged = |line: &&str| [" INFO ", " WARN ", " DEBUG "].iter().any(|level| line.contains(level));
    output.stderr.lines().filter(|line| !line.trim().is_empty() && !logged(line)).collect()
}

#[track_caller]
fn one_line(output: &Output, code: i32, words: &[&str]) {
    assert_eq!(output.status.code(), Some(code), "{output:?}");
    let lines = errors(output);
    assert_eq!(lines.len(), 1, "{lines:?}");
    for word in words {
        assert!(lines[0].contains(word), "no {word:?} in {:?}", lines[0]);
    }
}

/// Ports that do not open at start are in the log, one line each.
#[track_caller]
fn one_warning(output: &Output, words: &[&str]) {
    let lines: Vec<&str> = output.stderr.lines().filter(|line| line.contains(" WARN ")).collect();
    assert_eq!(lines.len(), 1, "{lines:?}");
    for word in words {
        assert!(lines[0].contains(word), "no {word:?} in {:?}", lines[0]);
    }
}

const TEN_MISTAKES: &str = r#"[memory]
mbufs = 3
hugepages = "maybe"
[workers]
count = 0
burst = 999
colour = "red"
[[network]]
name = "default"
mac_ageing = "soon"
[[port]]
name = "a-name-that-is-far-too-long"
kind = "veth"
device = "h-pod1"
[[port]]
name = "p1"
kind = "vet"
[[port]]
name = "p2"
kind = "vhost-user"
path = "relative/path"
[[port]]
name = "p3"
kind = "tap"
network = "nowhere"
mac = "02:00"
"#;

#[test]
fn an_address_for_metrics_that_is_taken_or_not_there() {
    require!(root(), shuntd());
    let (netns, dir) = (Netns::new().unwrap(), tempfile::tempdir().unwrap());
    let config = |listen: &str| format!("{MEMORY}[metrics]\nlisten = \"{listen}\"\n");
    let _first = Shuntd::start_in(&netns, &config("127.0.0.1:9464")).unwrap();
    let advice = "`listen` under [metrics]";
    let busy = refused(&netns, dir.path(), &config("127.0.0.1:9464"), &[]);
    one_line(&busy, 1, &["metrics cannot be served at 127.0.0.1:9464", "stop what listens there", advice]);
    let nobodys = refused(&netns, dir.path(), &config("192.0.2.1:9464"), &[]);
    one_line(&nobodys, 1, &["192.0.2.1:9464", "no interface has that address", advice]);
    let name = refused(&netns, dir.path(), &config("localhost:9464"), &[]);
    one_line(&name, 2, &["shunt.toml:4:10: metrics.listen: ", "write \"127.0.0.1:9464\""]);
    // Nothing was taken: not the control socket either.
    assert!(!dir.path().join("s").exists());
}

#[test]
fn ten_mistakes_give_ten_messages_with_line_and_key() {
    require!(root(), shuntd());
    let (netns, dir) = (Netns::new().unwrap(), tempfile::tempdir().unwrap());
    let output = refused(&netns, dir.path(), TEN_MISTAKES, &[]);
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    let lines = errors(&output);
    let wanted = [
        (2, "memory.mbufs"),
        (3, "memory.hugepages"),
        (5, "workers.count"),
        (6, "workers.burst"),
        (7, "workers.colour"),
        (10, "network[0].mac_ageing"),
        (12, "port[0].name"),
        (17, "port[1].kind"),
        (21, "port[2].path"),
        (25, "port[3].network"),
        (26, "port[3].mac"),
    ];
    assert_eq!(lines.len(), wanted.len(), "{lines:#?}");
    for ((number, key), line) in wanted.iter().zip(&lines) {
        assert!(
            line.contains(&format!("shunt.toml:{number}:")) && line.contains(key),
            "{number} {key}: {line}"
        );
    }
    // `--check` says the same and starts nothing; a running daemon refuses it whole.
    let check = refused(&netns, dir.path(), TEN_MISTAKES, &["--check"]);
    assert_eq!((check.status.code(), errors(&check)), (Some(2), lines.clone()));
    let running = Shuntd::start_in(&netns, MEMORY).unwrap();
    let file = dir.path().join("shunt.toml");
    let apply = running.cli_cmd(&["apply", &file.to_string_lossy()]).unwrap().run().unwrap();
    assert_eq!(apply.status.code(), Some(2), "{apply:?}");
    assert_eq!(apply.stderr.lines().count(), lines.len(), "{apply:?}");
}

#[test]
fn a_missing_device_keeps_its_port_down_and_says_why_until_it_comes() {
    require!(root(), shuntd());
    let tail = "[[port]]\nname = \"late\"\nkind = \"veth\"\ndevice = \"late0\"\n";
    let node = Node::launch(&Plan { pods: &[Kind::Veth], tail, ..Plan::default() });
    node.wait_port("pod1", "is open", |port| port.oper_up);
    let port = node.port("late");
    assert!(!port.oper_up && port.about.contains("late0") && port.about.contains("ip link add"), "{port:?}");
    assert!(!port.about.contains('\n'), "{port:?}");
    let health = node.cli("health");
    assert!(health.contains("1 of them not open"), "{health}");
    node.netns.exec(&["ip", "link", "add", "late0", "type", "veth", "peer", "name", "late1"]).unwrap();
    node.wait_port("late", "is open", |port| port.oper_up);
}

#[test]
fn a_missing_device_with_strict_is_one_line_and_exit_1() {
    require!(root(), shuntd());
    let (netns, dir) = (Netns::new().unwrap(), tempfile::tempdir().unwrap());
    let config = format!("{MEMORY}[[port]]\nname = \"p\"\nkind = \"veth\"\ndevice = \"absent0\"\n");
    let output = refused(&netns, dir.path(), &config, &["--strict"]);
    one_line(&output, 1, &["--strict"]);
    one_warning(&output, &["`p`", "absent0", "create it"]);
}

#[test]
fn every_kind_says_in_one_line_why_it_does_not_open() {
    require!(root(), shuntd());
    let node = Node::start(&Plan::default());
    let busy = node.path("busy");
    let _listener = UnixListener::bind(&busy).unwrap();
    let busy = busy.display();
    let cases = [
        ("kind=veth device=absent0".to_owned(), "absent0"),
        ("kind=veth device=lo".to_owned(), "lo"),
        ("kind=tap netns=absent".to_owned(), "absent"),
        ("kind=tap device=lo".to_owned(), "lo"),
        ("kind=tun netns=absent addresses=10.0.0.1/24".to_owned(), "absent"),
        ("kind=af_xdp device=absent0".to_owned(), "absent0"),
        ("kind=dpdk devargs=net_absent0".to_owned(), "net_absent0"),
        ("kind=dpdk devargs=0000:99:00.0".to_owned(), "0000:99:00.0"),
        ("kind=dpdk devargs=net_pcap_x,rx_pcap=/absent/file".to_owned(), "net_pcap_x"),
        (format!("kind=vhost-user path={busy}"), "busy"),
        ("kind=vhost-user path=/absent/socket".to_owned(), "/absent"),
        (format!("kind=memif path={busy}"), "busy"),
        ("kind=memif path=/absent/socket".to_owned(), "/absent"),
    ];
    let generation = node.generation();
    let mut wrong = Vec::new();
    for (keys, names) in &cases {
        let words = format!("port add p {keys}");
        let output = node.shuntd.cli_cmd(&words.split(' ').collect::<Vec<_>>()).unwrap().run().unwrap();
        let lines = errors(&output);
        // Something to do, not only what is wrong: a second clause.
        let instructive = lines.len() == 1 && (lines[0].contains(';') || lines[0].contains(", "));
        if output.status.code() != Some(1) || !instructive || !lines[0].contains(names) {
            wrong.push(format!("{keys}: {:?}: {lines:?}", output.status.code()));
        }
        if output.status.success() {
            node.cli("port del p");
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(node.generation(), generation);
    assert!(Path::new(&node.path("busy")).exists(), "a socket in use was removed");
}

#[test]
fn a_device_belongs_to_one_port() {
    require!(root(), shuntd());
    let node = Node::start(&Plan { pods: &[Kind::Veth], ..Plan::default() });
    let output =
        node.shuntd.cli_cmd(&["port", "add", "twin", "kind=veth", "device=h-pod1"]).unwrap().run().unwrap();
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    let lines = errors(&output);
    assert!(lines.len() == 1 && lines[0].contains("h-pod1") && lines[0].contains("pod1"), "{lines:?}");
}

#[test]
fn a_control_socket_in_use_is_left_alone() {
    require!(root(), shuntd());
    let netns = Netns::new().unwrap();
    let running = Shuntd::start_in(&netns, MEMORY).unwrap();
    let dir = running.dir().to_owned();
    let socket = running.socket();
    let program = binary("shuntd").unwrap();
    let argv = [&program, Path::new("--socket"), &socket].map(|word| word.to_string_lossy().into_owned());
    let output = Cmd::new(argv).within(&netns).run().unwrap();
    one_line(&output, 1, &["shunt.sock"]);
    assert!(running.cli_text(&["health"]).is_ok(), "the running one was disturbed");
    assert!(dir.join("shunt.sock").exists());
}

#[test]
fn too_little_memory_is_one_line_that_says_what_to_change() {
    require!(root(), tool("prlimit"), shuntd());
    let (netns, dir) = (Netns::new().unwrap(), tempfile::tempdir().unwrap());
    // Four million buffers of 9920 bytes are 39 GiB of hugepages: more than any machine of the tests has reserved.
    let huge = "[memory]\nhugepages = \"require\"\nmbufs = 4194304\nmbuf_size = 9600\n";
    one_line(&refused(&netns, dir.path(), huge, &[]), 1, &["vm.nr_hugepages"]);
    // A million buffers are 2.3 GiB, and the process may have 1.
    let file = dir.path().join("shunt.toml");
    fs::write(&file, "[memory]\nhugepages = \"never\"\nmbufs = 1048576\n").unwrap();
    let paths = [binary("shuntd").unwrap(), "--config".into(), file, "--socket".into(), dir.path().join("s")];
    let limited = ["prlimit", "--as=1073741824"].map(str::to_owned).into_iter();
    let argv = limited.chain(paths.iter().map(|path| path.to_string_lossy().into_owned()));
    let output = Cmd::new(argv).within(&netns).run().unwrap();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    // DPDK's own words come before, in the log; the last line is ours.
    let last = output.stderr.trim_end().lines().next_back().unwrap_or_default();
    assert!(last.starts_with("shuntd: ") && last.contains("[memory]"), "{last}");
}

#[test]
fn without_permission_it_says_what_is_needed() {
    require!(root(), tool("setpriv"), shuntd());
    let (netns, dir) = (Netns::new().unwrap(), tempfile::tempdir().unwrap());
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o777)).unwrap();
    // Nobody may not even read the build's directory on some machines: give it the program where it may.
    let program = dir.path().join("shuntd");
    fs::copy(binary("shuntd").unwrap(), &program).unwrap();
    let file = dir.path().join("shunt.toml");
    fs::write(&file, format!("{MEMORY}[[port]]\nname = \"p\"\nkind = \"tap\"\n")).unwrap();
    let words = |path: &Path| path.to_string_lossy().into_owned();
    let drop = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", "--inh-caps", "-all"];
    let socket = dir.path().join("s");
    let run = drop.map(str::to_owned).into_iter().chain([
        words(&program),
        "--strict".into(),
        "--config".into(),
        words(&file),
        "--socket".into(),
        words(&socket),
    ]);
    let output = Cmd::new(run).within(&netns).run().unwrap();
    one_line(&output, 1, &["--strict"]);
    one_warning(&output, &["CAP_NET_ADMIN"]);
    // The socket of another's daemon: the CLI says whom to ask.
    let running = Shuntd::start_in(&netns, MEMORY).unwrap();
    fs::set_permissions(running.dir(), fs::Permissions::from_mode(0o755)).unwrap();
    let cli = dir.path().join("shunt");
    fs::copy(binary("shunt").unwrap(), &cli).unwrap();
    let ask = drop.map(str::to_owned).into_iter().chain([
        words(&cli),
        "--socket".into(),
        words(&running.socket()),
        "health".into(),
    ]);
    let output = Cmd::new(ask).run().unwrap();
    one_line(&output, 1, &["shunt.sock"]);
    assert!(output.stderr.contains("not permitted"), "{output:?}");
}

#[test]
fn no_daemon_is_one_line() {
    require!(shuntd());
    let dir = tempfile::tempdir().unwrap();
    let cli = binary("shunt").unwrap().to_string_lossy().into_owned();
    let socket = dir.path().join("absent").to_string_lossy().into_owned();
    let output = Cmd::new([cli, "--socket".into(), socket, "show".into(), "ports".into()]).run().unwrap();
    one_line(&output, 1, &["absent", "shuntd"]);
}
