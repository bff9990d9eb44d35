//! What was applied beyond the file is there again after a restart, a reload, and a death in the middle of a change.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;
use shunt_tests::{Interface, Netns, Ping, Shuntd, Veth, require};
use tempfile::TempDir;

const PATIENCE: Duration = Duration::from_secs(20);
const VIP: &str = "10.96.0.1";

/// A node with one network of pods.
fn config(state: &Path, more: &str) -> String {
    format!(
        "[daemon]\nstate_dir = \"{}\"\n[memory]\nhugepages = \"never\"\nmbufs = 4096\n[flow_cache]\nentries = 1024\n\
         [[router]]\nname = \"r\"\n[[network]]\nname = \"pods\"\nrouter = \"r\"\ngateways = [\"10.0.1.1/24\"]\n{more}",
        state.display()
    )
}

fn service(name: &str, address: &str) -> String {
    format!(
        "---\napiVersion: v1\nkind: Service\nmetadata: {{ name: {name}, namespace: shop }}\n\
         spec: {{ clusterIP: {address}, ports: [{{ port: 80 }}] }}\n\
         ---\napiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\n\
         metadata: {{ name: {name}-x, namespace: shop, labels: {{ kubernetes.io/service-name: {name} }} }}\n\
         addressType: IPv4\nports: [{{ port: 8080 }}]\nendpoints: [{{ addresses: [10.0.1.7] }}]\n"
    )
}

/// Names of one list of an answer.
fn names(shuntd: &Shuntd, what: &str) -> BTreeSet<String> {
    let answer = shuntd.cli(&["show", what, "--json"]).unwrap();
    let rows = answer.as_array().or_else(|| answer[what].as_array()).unwrap_or_else(|| panic!("{answer}"));
    rows.iter().map(|row| row["name"].as_str().unwrap().to_owned()).collect()
}

fn set(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(ToString::to_string).collect()
}

/// Applies objects, which must succeed.
#[track_caller]
fn apply(shuntd: &Shuntd, yaml: &str) {
    let file = shuntd.dir().join("objects.yaml");
    fs::write(&file, yaml).unwrap();
    shuntd.cli_text(&["apply", "-f", &file.to_string_lossy()]).unwrap();
}

/// Reads `config` again and waits until that is done.
fn reload(shuntd: &Shuntd, config: &str) {
    let done = |log: &str| log.matches("configuration read again").count();
    let before = done(&shuntd.log());
    shuntd.reload(config).unwrap();
    let deadline = Instant::now() + PATIENCE;
    while done(&shuntd.log()) == before {
        assert!(Instant::now() < deadline, "no reload: {}", shuntd.log());
        thread::sleep(Duration::from_millis(5));
    }
}

struct Place {
    state: TempDir,
    node: Netns,
    pod: Netns,
    _veth: Veth,
}

/// A node with a pod behind `veth_a`.
fn place() -> Place {
    let (state, node, pod) = (tempfile::tempdir().unwrap(), Netns::new().unwrap(), Netns::new().unwrap());
    let inside = Interface { addrs: &["10.0.1.7/24"], ..Interface::default() };
    let veth = Veth::pair("veth_a", Some(&node), &pod, &inside).unwrap();
    pod.exec(&["ip", "route", "add", "default", "via", "10.0.1.1"]).unwrap();
    Place { state, node, pod, _veth: veth }
}

impl Place {
    fn start(&self, more: &str) -> Shuntd {
        Shuntd::start_in(&self.node, &config(self.state.path(), more)).unwrap()
    }

    /// The pod's ping to the service is answered: the port is open and the service is in the workers' tables.
    #[track_caller]
    fn works(&self, shuntd: &Shuntd) {
        let deadline = Instant::now() + PATIENCE;
        let answered = || {
            Ping { wait_ms: 300, ..Ping::to(VIP) }.run(&self.pod).is_ok_and(|answers| answers.received == 1)
        };
        while !answered() {
            let drops = || shuntd.cli_text(&["show", "drops"]).unwrap();
            assert!(Instant::now() < deadline, "{VIP} does not answer: {}", drops());
        }
    }

    fn refuses(&self) -> bool {
        Ping { wait_ms: 300, ..Ping::to(VIP) }.run(&self.pod).is_ok_and(|answers| answers.received == 0)
    }
}

#[test]
fn objects_and_ports_outlive_restarts_and_reloads_until_they_are_deleted() {
    require!(root(), shuntd());
    let place = place();
    let mut shuntd = place.start("");
    apply(&shuntd, &(service("web", VIP) + &service("db", "10.96.0.2")));
    shuntd.cli_text(&["port", "add", "a", "kind=veth", "device=veth_a", "network=pods"]).unwrap();
    shuntd.cli_text(&["port", "add", "b", "kind=tap", "network=pods"]).unwrap();
    shuntd.cli_text(&["port", "down", "b"]).unwrap();
    place.works(&shuntd);
    shuntd.stop().unwrap();

    let mut shuntd = place.start("");
    assert_eq!(names(&shuntd, "services"), set(&["shop/db", "shop/web"]));
    place.works(&shuntd);
    let ports = shuntd.cli(&["show", "ports", "--json"]).unwrap();
    let ports = ports.as_array().or_else(|| ports["ports"].as_array()).unwrap();
    let admin: Vec<_> =
        ports.iter().map(|port| (port["name"].as_str(), port["admin_up"].as_bool())).collect();
    assert_eq!(admin, [(Some("a"), Some(true)), (Some("b"), Some(false))], "{ports:?}");

    // Another file: all stays on top of it.
    reload(&shuntd, &config(place.state.path(), "[[network]]\nname = \"more\"\n"));
    assert_eq!(names(&shuntd, "services"), set(&["shop/db", "shop/web"]));
    assert_eq!(names(&shuntd, "ports"), set(&["a", "b"]));
    place.works(&shuntd);
    // So it does when that file comes by the command.
    let file = shuntd.dir().join("whole.toml");
    fs::write(&file, config(place.state.path(), "")).unwrap();
    shuntd.cli_text(&["apply", &file.to_string_lossy()]).unwrap();
    assert_eq!(names(&shuntd, "services"), set(&["shop/db", "shop/web"]));
    place.works(&shuntd);

    shuntd.cli_text(&["delete", "svc/web", "-n", "shop"]).unwrap();
    shuntd.cli_text(&["port", "del", "b"]).unwrap();
    shuntd.stop().unwrap();
    let shuntd = place.start("");
    assert_eq!(names(&shuntd, "services"), set(&["shop/db"]));
    assert_eq!(names(&shuntd, "ports"), set(&["a"]));
    shuntd
        .cli_until(&["show", "ports", "--json"], PATIENCE, |answer| {
            let ports = answer.as_array().or_else(|| answer["ports"].as_array());
            ports.is_some_and(|ports| ports.iter().all(|port| port["oper_up"] == Value::Bool(true)))
        })
        .unwrap();
    assert!(place.refuses(), "the service is gone");
}

#[test]
fn what_does_not_fit_the_file_is_named_and_comes_back_with_a_file_that_it_fits() {
    require!(root(), shuntd());
    let place = place();
    let mut shuntd = place.start("");
    apply(&shuntd, &(service("web", VIP) + &service("db", "10.96.0.2")));
    shuntd.stop().unwrap();
    let taken = "[[service]]\nname = \"other/one\"\nrouter = \"r\"\ncluster_ips = [\"10.96.0.2\"]\nports = [{ port = 80 }]\n";
    let shuntd = place.start(taken);
    assert_eq!(names(&shuntd, "services"), set(&["other/one", "shop/web"]));
    let log = shuntd.log();
    assert!(log.contains("Service shop/db does not fit the configuration and is kept aside"), "{log}");
    assert!(log.contains("EndpointSlice shop/db-x does not fit"), "{log}");
    // The command says it, too.
    let file = shuntd.dir().join("whole.toml");
    fs::write(&file, config(place.state.path(), taken)).unwrap();
    let said = shuntd.cli_text(&["apply", &file.to_string_lossy()]).unwrap();
    assert!(said.contains("Service shop/db does not fit"), "{said}");
    reload(&shuntd, &config(place.state.path(), ""));
    assert_eq!(names(&shuntd, "services"), set(&["shop/db", "shop/web"]));
}

#[test]
fn a_damaged_file_is_named_and_left_and_the_daemon_starts_from_its_own() {
    require!(root(), shuntd());
    let place = place();
    let mut shuntd = place.start("");
    apply(&shuntd, &service("web", VIP));
    apply(&shuntd, &service("db", "10.96.0.2"));
    // Nobody else may have the directory.
    let second = Shuntd::start_in(&place.node, &config(place.state.path(), "")).err().expect("it is taken");
    assert!(second.to_string().contains("another daemon uses this directory"), "{second}");
    shuntd.stop().unwrap();
    let file = place.state.path().join("objects");
    let mut bytes = fs::read(&file).unwrap();
    bytes[100] ^= 1;
    fs::write(&file, &bytes).unwrap();
    let mut shuntd = place.start("");
    assert_eq!(names(&shuntd, "services"), set(&[]));
    assert!(shuntd.log().contains("damaged at byte"), "{}", shuntd.log());
    let bad = |name: &str| name.starts_with("objects.bad-");
    let left: Vec<_> = fs::read_dir(place.state.path()).unwrap().map(|entry| entry.unwrap()).collect();
    let left: Vec<_> = left.iter().filter(|entry| bad(&entry.file_name().to_string_lossy())).collect();
    assert_eq!(left.len(), 1);
    assert_eq!(fs::read(left[0].path()).unwrap(), bytes, "as it was");
    // It goes on with a new one.
    apply(&shuntd, &service("web", VIP));
    shuntd.stop().unwrap();
    assert_eq!(names(&place.start(""), "services"), set(&["shop/web"]));
}

/// kill(9) at any moment of a stream of changes: what was acknowledged is there, and nothing else but what was under way.
#[test]
fn what_was_acknowledged_before_a_kill_is_there_after_it() {
    require!(root(), shuntd());
    let place = place();
    let mut wanted = BTreeSet::new();
    let mut number = 0;
    for round in 0..4u64 {
        let mut shuntd = place.start("");
        assert_eq!(names(&shuntd, "services"), wanted, "round {round}");
        let acknowledged = AtomicUsize::new(number);
        let (first, dir) = (number, shuntd.dir().to_owned());
        let command = shuntd.cli_cmd(&["apply", "-f"]).unwrap();
        thread::scope(|scope| {
            let stream = scope.spawn(|| {
                for next in first.. {
                    let file = dir.join(format!("s{next}.yaml"));
                    fs::write(
                        &file,
                        service(&format!("s{next}"), &format!("10.97.{}.{}", next / 200, next % 200 + 1)),
                    )
                    .unwrap();
                    let applied = command.clone().args([&*file.to_string_lossy()]).check();
                    if applied.is_err() {
                        break;
                    }
                    acknowledged.store(next + 1, Ordering::SeqCst);
                }
            });
            let deadline = Instant::now() + PATIENCE;
            while acknowledged.load(Ordering::SeqCst) < first + 10 {
                assert!(Instant::now() < deadline, "{}", shuntd.log());
                thread::sleep(Duration::from_millis(1));
            }
            // Not always at the same point of a change.
            thread::sleep(Duration::from_micros(3_700 * round));
            shuntd.kill();
            stream.join().unwrap();
        });
        let done = acknowledged.load(Ordering::SeqCst);
        wanted.extend((first..done).map(|done| format!("shop/s{done}")));
        let shuntd = place.start("");
        let found = names(&shuntd, "services");
        assert!(found.is_superset(&wanted), "lost: {:?}", wanted.difference(&found));
        let more: Vec<_> = found.difference(&wanted).cloned().collect();
        assert!(more.is_empty() || more == [format!("shop/s{done}")], "{more:?}");
        // Whole: with its slice.
        let shown = shuntd.cli_text(&["show", "services"]).unwrap();
        assert_eq!(shown.matches("10.0.1.7").count(), found.len(), "{shown}");
        wanted = found;
        number = done + 1;
    }
}
