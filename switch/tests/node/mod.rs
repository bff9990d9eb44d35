//! The switch in this process, and pods on veth pairs: what the tests of single port kinds share.
#![allow(dead_code, reason = "each test binary uses its part")]

use std::time::{Duration, Instant};

use shunt_switch::control::status::{DropRow, PortRow, WorkerRow};
use shunt_switch::control::{Control, Handle, Running};
use shunt_tests::veth::unique_name;
use shunt_tests::{Interface, Netns, Ping, Veth};

const PATIENCE: Duration = Duration::from_secs(10);

/// A pod whose interface's host end is in the test's namespace.
pub(crate) struct Wired {
    pub(crate) pod: Netns,
    /// Name of the host end.
    pub(crate) device: String,
    _veth: Veth,
}

impl Wired {
    pub(crate) fn new(addrs: &[&str], mtu: u32) -> Self {
        let (pod, device) = (Netns::new().unwrap(), unique_name());
        let veth =
            Veth::pair(&device, None, &pod, &Interface { addrs, mtu, ..Interface::default() }).unwrap();
        Self { pod, device, _veth: veth }
    }
}

/// What a memif server that crashed leaves: a socket file that nobody listens on.
pub(crate) fn stale_socket(path: &std::path::Path) {
    use nix::sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, bind, socket};
    let server = socket(AddressFamily::Unix, SockType::SeqPacket, SockFlag::SOCK_CLOEXEC, None).unwrap();
    bind(std::os::fd::AsRawFd::as_raw_fd(&server), &UnixAddr::new(path).unwrap()).unwrap();
}

/// A whole series of echoes arrives. `ping` gives up on the last ones after twice the longest round trip, which on a
/// busy machine is less than a worker may have to wait for its core: hence up to three series.
#[track_caller]
pub(crate) fn pings(from: &Netns, to: &[&str]) {
    for to in to {
        let series = || Ping { count: 20, ..Ping::to(to) }.run(from).unwrap();
        let all = (0..3).map(|_| series()).find(|answers| (answers.received, answers.duplicates) == (20, 0));
        assert!(all.is_some(), "{to}: three series of 20 with losses");
    }
}

/// A running switch with one network and adaptive polling.
pub(crate) struct Node {
    running: Option<Running>,
    handle: Handle,
}

impl Node {
    /// Starts it with more keys for `[workers]` (and sections after them) and with `ports`. All ports open.
    pub(crate) fn start(workers: &str, ports: &str) -> Self {
        let text =
            format!("[workers]\npoll = \"adaptive\"\n{workers}\n[[network]]\nname = \"default\"\n{ports}");
        let config = shunt_config::parse(&text, "test").unwrap_or_else(|errors| panic!("{errors}\n{text}"));
        let mut control = Control::start(&config).unwrap();
        let errors = control.apply_at_start(&config);
        assert!(errors.is_empty(), "{errors:?}");
        let running = control.spawn().unwrap();
        let handle = running.handle();
        Self { running: Some(running), handle }
    }

    pub(crate) fn call<R: Send + 'static>(&self, job: impl FnOnce(&mut Control) -> R + Send + 'static) -> R {
        self.handle.call(job).unwrap()
    }

    /// Adds one port; the error as the user would read it.
    pub(crate) fn add(&self, port: &str) -> Result<(), String> {
        let text = format!("[[network]]\nname = \"default\"\n{port}");
        let config = shunt_config::parse(&text, "test").unwrap_or_else(|errors| panic!("{errors}\n{text}"));
        let port = config.ports[0].clone();
        self.call(move |control| control.add_port(port).map(drop).map_err(|error| error.to_string()))
    }

    pub(crate) fn port(&self, name: &str) -> PortRow {
        let name = name.to_owned();
        self.call(move |control| control.ports().into_iter().find(|port| port.name == name))
            .expect("a port of this name")
    }

    pub(crate) fn worker(&self) -> WorkerRow {
        self.call(|control| control.workers().remove(0))
    }

    pub(crate) fn drops(&self) -> Vec<DropRow> {
        self.call(|control| control.drops())
    }

    pub(crate) fn dropped(&self, port: &str, reason: &str) -> u64 {
        self.drops().iter().filter(|row| row.port == port && row.reason == reason).map(|row| row.count).sum()
    }

    /// Polls until `holds`.
    #[track_caller]
    pub(crate) fn until(&self, holds: impl Fn(&Self) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !holds(self) {
            let rows = self.call(|control| control.ports());
            assert!(Instant::now() < deadline, "{rows:#?}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if let Some(running) = self.running.take() {
            running.stop();
        }
    }
}
