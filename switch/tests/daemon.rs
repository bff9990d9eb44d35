//! `shuntd` and `shunt` as processes: start, changes, bad input, signals, the service manager, the end.
//!
//! DPDK needs no hugepages and no privilege for `net_null`, so this runs anywhere. Each test has a daemon of its own, in
//! a directory of its own, and ends it.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use nix::sched::{CpuSet, sched_getaffinity};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};

/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(20);

const SMALL: &str = "[memory]\nhugepages = \"never\"\nmbufs = 2048\n";

fn port(name: &str, device: &str) -> String {
    format!("[[port]]\nname = \"{name}\"\nkind = \"dpdk\"\ndevargs = \"{device},no-rx=1\"\n")
}

/// Tries until `found` gives something.
#[track_caller]
fn wait_for<T>(what: &str, mut found: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(value) = found() {
            return value;
        }
        assert!(Instant::now() < deadline, "{what} did not happen in time");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A daemon of this test; killed when dropped.
struct Daemon {
    root: tempfile::TempDir,
    child: Child,
}

impl Daemon {
    fn command(root: &Path) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_shuntd"));
        command.arg("--socket").arg(root.join("run/s.sock")).arg("--config").arg(root.join("c.toml"));
        command.env_remove("NOTIFY_SOCKET").env_remove("RUST_LOG");
        command
            .stderr(fs::File::create(root.join("log")).unwrap())
            .stdin(Stdio::null())
            .stdout(Stdio::null());
        command
    }

    fn start(config: &str, also: impl FnOnce(&Path, &mut Command)) -> Self {
        let root = tempfile::tempdir().unwrap();
        fs::write(root.path().join("c.toml"), config).unwrap();
        let mut command = Self::command(root.path());
        also(root.path(), &mut command);
        let mut daemon = Self { child: command.spawn().unwrap(), root };
        daemon.wait_until_it_listens();
        daemon
    }

    fn wait_until_it_listens(&mut self) {
        let deadline = Instant::now() + PATIENCE;
        while self.shunt(&["health"]).status.code() != Some(0) {
            let ended = self.child.try_wait().unwrap();
            assert!(ended.is_none() && Instant::now() < deadline, "{ended:?}: {}", self.log());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn socket(&self) -> PathBuf {
        self.root.path().join("run/s.sock")
    }

    fn write(&self, config: &str) {
        fs::write(self.root.path().join("c.toml"), config).unwrap();
    }

    fn log(&self) -> String {
        fs::read_to_string(self.root.path().join("log")).unwrap()
    }

    fn shunt(&self, words: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_shunt"))
            .arg("--socket")
            .arg(self.socket())
            .args(words)
            .output()
            .unwrap()
    }

    /// The answer of a command that works.
    #[track_caller]
    fn json(&self, words: &[&str]) -> Value {
        let output = self.shunt(&[&["--json"], words].concat());
        assert_eq!(output.status.code(), Some(0), "{words:?}: {}", text(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// Exit code and message of a command that does not.
    fn refusal(&self, words: &[&str]) -> (Option<i32>, String) {
        let output = self.shunt(words);
        assert!(output.stdout.is_empty(), "{words:?} printed {}", text(&output.stdout));
        (output.status.code(), text(&output.stderr))
    }

    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id().try_into().unwrap()), signal).unwrap();
    }

    #[track_caller]
    fn ends_with(&mut self, code: i32) {
        let child = &mut self.child;
        let status = wait_for("the end", || child.try_wait().unwrap());
        assert_eq!(status.code(), Some(code), "{}", self.log());
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // It has ended already in a test that went well.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Names in an answer of `show ports`.
fn names(ports: &Value) -> Vec<&str> {
    ports.as_array().unwrap().iter().map(|port| port["name"].as_str().unwrap()).collect()
}

#[test]
fn ports_come_change_and_go_and_the_daemon_ends_cleanly() {
    let mut daemon = Daemon::start(&(SMALL.to_owned() + &port("a", "net_null0")), |_, _| {});
    assert_eq!(fs::metadata(daemon.socket()).unwrap().mode() & 0o777, 0o660);

    let added = daemon.json(&["port", "add", "b", "kind=dpdk", "devargs=net_null1,no-rx=1"]);
    assert_eq!(added["added"], json!(["b"]));
    let ports = daemon.json(&["show", "ports"]);
    assert_eq!(names(&ports), ["a", "b"]);
    assert_eq!((&ports[1]["oper_up"], &ports[1]["queues"]), (&json!(true), &json!([[0, 0]])));

    assert_eq!(daemon.json(&["port", "down", "b"])["changed"], json!(["b"]));
    assert_eq!(daemon.json(&["show", "ports"])[1]["admin_up"], json!(false));
    assert_eq!(daemon.json(&["show", "topology"])["networks"][0]["members"], json!(["a"]));
    daemon.json(&["port", "up", "b"]);
    let reset = daemon.json(&["port", "reset", "b"]);
    assert_eq!(reset["changed"], json!(["b"]));
    assert_eq!(daemon.json(&["show", "topology"])["networks"][0]["members"], json!(["a", "b"]));
    assert_eq!(daemon.json(&["show", "workers"])[0]["queues"], json!(["a/0", "b/0"]));
    assert_eq!(daemon.json(&["show", "fdb"]), json!([]));
    assert_eq!(daemon.json(&["show", "drops"]), json!([]));
    let generations = daemon.json(&["show", "generations"]);
    assert_eq!(generations[0]["generation"], reset["generation"]);
    assert_eq!(generations[0]["cause"], json!("port b reset"));

    // What `show config` prints is what `apply` takes.
    let config = daemon.shunt(&["show", "config"]).stdout;
    assert_eq!(shunt_config::parse(&text(&config), "").unwrap().ports.len(), 2);
    daemon.write(&text(&config));
    let applied = daemon.json(&["apply", daemon.root.path().join("c.toml").to_str().unwrap()]);
    assert_eq!((&applied["added"], &applied["changed"]), (&json!([]), &json!([])));
    assert_eq!(daemon.json(&["show", "config"])["port"][1]["name"], json!("b"));

    assert_eq!(daemon.json(&["port", "del", "a"])["removed"], json!(["a"]));
    assert_eq!(names(&daemon.json(&["show", "ports"])), ["b"]);
    assert!(text(&daemon.shunt(&["show", "ports"]).stdout).starts_with("PORT  KIND  NETWORK"));

    daemon.signal(Signal::SIGTERM);
    daemon.ends_with(0);
    assert!(!daemon.socket().exists(), "the socket is left over");
    let (code, message) = daemon.refusal(&["show", "ports"]);
    assert_eq!(code, Some(1));
    let wanted = format!("shunt: shuntd does not listen on {}; is it running?", daemon.socket().display());
    assert!(message.starts_with(&wanted), "{message}");
}

#[test]
fn mistakes_are_told_with_their_places_and_change_nothing() {
    let mut daemon = Daemon::start(&(SMALL.to_owned() + &port("a", "net_null0")), |_, _| {});
    let generation = daemon.json(&["health"])["generation"].clone();

    let (code, message) = daemon.refusal(&["port", "add", "a", "kind=dpdk", "devargs=net_null1", "mtuu=9"]);
    assert_eq!(code, Some(2));
    let lines: Vec<&str> = message.lines().collect();
    assert!(lines[0].starts_with("argument 1: name: "), "{message}");
    assert!(lines[1].starts_with("argument 4: mtuu: unknown key"), "{message}");

    let (code, message) = daemon.refusal(&["port", "del", "nobody"]);
    assert_eq!(code, Some(2));
    assert_eq!(message, "shunt: there is no port `nobody`; `shunt show ports` lists them\n");

    let (code, message) = daemon.refusal(&["port", "add", "x", "kind=dpdk", "devargs=no_such_driver7"]);
    assert_eq!(code, Some(1), "{message}");
    assert!(message.starts_with("shunt: port `x`: "), "{message}");
    assert_eq!(message.lines().count(), 1, "{message}");

    let ten = Path::new(env!("CARGO_MANIFEST_DIR")).join("../config/tests/golden/ten-mistakes.toml");
    let (code, message) = daemon.refusal(&["apply", ten.to_str().unwrap()]);
    assert_eq!(code, Some(2));
    assert_eq!(message.lines().count(), 10, "{message}");
    assert!(message.lines().all(|line| line.starts_with(&format!("{}:", ten.display()))), "{message}");

    daemon.write("[memory]\nhugepages = \"never\"\nmbufs = 4096\n");
    let (code, message) = daemon.refusal(&["apply", daemon.root.path().join("c.toml").to_str().unwrap()]);
    assert_eq!((code, message.contains("memory.mbufs")), (Some(1), true), "{message}");

    assert_eq!(names(&daemon.json(&["show", "ports"])), ["a"]);
    assert_eq!(daemon.json(&["health"])["generation"], generation, "something was published");
    daemon.signal(Signal::SIGINT);
    daemon.ends_with(0);
}

#[test]
fn hundreds_of_mistakes_arrive_cut_off_at_a_line() {
    let mut daemon = Daemon::start(SMALL, |_, _| {});
    daemon.write(&"[[port]]\nkind = \"d\u{e4}t\"\n".repeat(1000));
    let (code, message) = daemon.refusal(&["apply", daemon.root.path().join("c.toml").to_str().unwrap()]);
    assert_eq!(code, Some(2), "{message}");
    assert!(message.lines().count() > 20, "{message}");
    assert!(message.trim_end().ends_with("more; correct these first"), "{message}");
    daemon.signal(Signal::SIGTERM);
    daemon.ends_with(0);
}

#[test]
fn sighup_reads_the_file_again_and_a_bad_one_changes_nothing() {
    let mut daemon = Daemon::start(&(SMALL.to_owned() + &port("a", "net_null0")), |_, _| {});
    daemon.write("[memory]\nmbufs = \"many\"\n");
    daemon.signal(Signal::SIGHUP);
    wait_for("the refusal", || daemon.log().contains("was not applied").then_some(()));
    assert!(daemon.log().contains("c.toml:2:9: memory.mbufs: "), "{}", daemon.log());
    assert_eq!(names(&daemon.json(&["show", "ports"])), ["a"]);

    daemon.write(&(SMALL.to_owned() + &port("b", "net_null1")));
    daemon.signal(Signal::SIGHUP);
    wait_for("the reload", || (names(&daemon.json(&["show", "ports"])) == ["b"]).then_some(()));
    daemon.signal(Signal::SIGTERM);
    daemon.ends_with(0);
}

#[test]
fn a_second_daemon_is_refused_and_a_killed_one_replaced() {
    let mut first = Daemon::start(SMALL, |_, _| {});
    let second = Daemon::command(first.root.path()).stderr(Stdio::piped()).output().unwrap();
    assert_eq!(second.status.code(), Some(1));
    let wanted = format!("another shuntd listens on {}; stop it or set `socket`", first.socket().display());
    assert!(text(&second.stderr).contains(&wanted), "{}", text(&second.stderr));
    first.json(&["health"]);

    first.child.kill().unwrap();
    first.child.wait().unwrap();
    assert!(first.socket().exists(), "a killed daemon cannot have cleaned up");
    first.child = Daemon::command(first.root.path()).spawn().unwrap();
    first.wait_until_it_listens();
    first.signal(Signal::SIGTERM);
    first.ends_with(0);
}

#[test]
fn bad_configurations_do_not_start() {
    let root = tempfile::tempdir().unwrap();
    let file = root.path().join("c.toml");
    let run = |config: &str, words: &[&str]| {
        fs::write(&file, config).unwrap();
        Daemon::command(root.path())
            .args(words)
            .stderr(Stdio::piped())
            .stdout(Stdio::piped())
            .output()
            .unwrap()
    };
    let wrong = "[workers]\ncount = 0\nbursts = 3\n";
    for words in [&[][..], &["--check"]] {
        let output = run(wrong, words);
        let lines = text(&output.stderr);
        assert_eq!((output.status.code(), lines.lines().count()), (Some(2), 2), "{lines}");
        assert!(lines.starts_with(&format!("{}:2:9: workers.count: ", file.display())), "{lines}");
    }
    let output = run(SMALL, &["--check"]);
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(text(&output.stdout), format!("{}: valid, networks: 1, ports: 0\n", file.display()));
    let output = run(SMALL, &["--log", "louder"]);
    assert_eq!(output.status.code(), Some(2), "{}", text(&output.stderr));

    // Strict: a port that does not open keeps the daemon from starting.
    let missing = SMALL.to_owned() + &port("gone", "no_such_driver1");
    let output = run(&missing, &["--strict"]);
    assert_eq!(output.status.code(), Some(1), "{}", text(&output.stderr));
    assert!(text(&output.stderr).contains("port `gone`: "), "{}", text(&output.stderr));
    assert!(!root.path().join("run/s.sock").exists());
}

#[test]
fn a_port_that_does_not_open_is_down_and_says_why() {
    let mut daemon = Daemon::start(&(SMALL.to_owned() + &port("gone", "no_such_driver1")), |_, _| {});
    let ports = daemon.json(&["show", "ports"]);
    assert_eq!((&ports[0]["admin_up"], &ports[0]["oper_up"]), (&json!(true), &json!(false)));
    assert_ne!(ports[0]["about"], json!(""), "no reason given");
    assert_eq!(daemon.json(&["health"])["ports_failed"], json!(1));
    assert!(daemon.log().contains("port `gone`: "), "{}", daemon.log());
    daemon.signal(Signal::SIGTERM);
    daemon.ends_with(0);
}

/// A control thread that wakes up on a worker's core would hold its packets up.
#[test]
fn the_other_threads_leave_the_workers_cores_alone() {
    let daemon = Daemon::start(SMALL, |_, _| {});
    let cores_of = |thread: i32| {
        let allowed = sched_getaffinity(Pid::from_raw(thread)).unwrap();
        (0..CpuSet::count()).filter(|core| allowed.is_set(*core).unwrap()).collect::<Vec<_>>()
    };
    let ours = cores_of(0);
    let tasks = fs::read_dir(format!("/proc/{}/task", daemon.child.id())).unwrap();
    let threads: Vec<(String, Vec<usize>)> = tasks
        .map(|task| task.unwrap().path())
        .map(|task| {
            let name = fs::read_to_string(task.join("comm")).unwrap().trim().to_owned();
            (name, cores_of(task.file_name().unwrap().to_str().unwrap().parse().unwrap()))
        })
        .collect();
    let of = |prefix: &str| threads.iter().filter(|(name, _)| name.starts_with(prefix)).collect::<Vec<_>>();
    let [(_, worker)] = of("shunt-worker")[..] else { panic!("one worker: {threads:?}") };
    assert_eq!(worker.len(), 1, "the worker is pinned");
    for name in ["shuntd", "shunt-control", "shunt-api"] {
        assert!(!of(name).is_empty(), "a thread {name}: {threads:?}");
        let strays = of(name).into_iter().filter(|(_, cores)| cores.contains(&worker[0]) && ours.len() > 1);
        assert_eq!(strays.count(), 0, "{threads:?}");
    }
}

#[test]
fn the_service_manager_is_told() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("notify");
    let manager = UnixDatagram::bind(&path).unwrap();
    manager.set_read_timeout(Some(PATIENCE)).unwrap();
    let next = || {
        let mut message = [0; 512];
        let length = manager.recv(&mut message).unwrap();
        text(&message[..length])
    };
    let mut daemon = Daemon::start(SMALL, |_, command| {
        command.env("NOTIFY_SOCKET", &path);
    });
    assert_eq!(next(), "READY=1\nSTATUS=generation 1, networks: 1, ports: 0\n");
    daemon.signal(Signal::SIGHUP);
    let reloading = next();
    assert!(reloading.starts_with("RELOADING=1\nMONOTONIC_USEC="), "{reloading}");
    assert!(next().starts_with("READY=1\n"));
    daemon.signal(Signal::SIGTERM);
    assert_eq!(next(), "STOPPING=1\n");
    daemon.ends_with(0);
}
