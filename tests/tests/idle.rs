//! An idle daemon costs next to nothing, and is there at once when it is needed.

mod node;

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use node::{Kind, Node, Plan, traffic};
use shunt_tests::{Ping, require};

/// Share of one core that an idle daemon may take.
const SHARE: f64 = 0.03;
const WATCHED: Duration = Duration::from_secs(10);
const FIRST_ECHO: Duration = Duration::from_millis(1);

/// Processor time of a process, user and system.
fn processor_time(pid: u32) -> Duration {
    // proc(5): fields 14 and 15 of stat, in ticks of 1/100 s; the name in field 2 may hold blanks and ends at the last `)`.
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<&str> = stat[stat.rfind(')').unwrap() + 2..].split(' ').collect();
    let ticks: u64 = fields[11..13].iter().map(|field| field.parse::<u64>().unwrap()).sum();
    Duration::from_millis(ticks * 10)
}

/// The daemon's process; the one that the lab started is `ip netns exec` no longer, it has become the daemon.
fn daemon(node: &Node) -> u32 {
    let pid = node.shuntd.pid();
    let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap();
    assert_eq!(name.trim(), "shuntd");
    pid
}

/// Watches an idle daemon for 10 s, then times the first echo.
#[track_caller]
fn idles(node: &Node) {
    let [a, b] = [&node.pods[0], &node.pods[1]];
    // Neighbour entries that do not expire: the first echo is to be the only frame.
    for (pod, other) in [(a, b), (b, a)] {
        let entry = ["ip", "neigh", "replace", &other.v4, "lladdr", &other.mac(), "dev", "eth0"];
        pod.netns.exec(&[&entry[..], &["nud", "permanent"]].concat()).unwrap();
    }
    traffic::ping_v4(a, b, 3).unwrap();
    let pid = daemon(node);
    let (spent, start) = (processor_time(pid), Instant::now());
    thread::sleep(WATCHED);
    let share = (processor_time(pid) - spent).as_secs_f64() / start.elapsed().as_secs_f64();
    println!("idle: {:.2} % of a core", share * 100.0);
    assert!(share < SHARE, "idle, it takes {:.1} % of a core: {}", share * 100.0, node.show("workers"));

    // Whatever else the machine does delays one echo or the other: of several that each come after idleness, the middle one counts.
    let mut first: Vec<Duration> = (0..5)
        .map(|_| {
            thread::sleep(Duration::from_millis(500));
            let answers = Ping { count: 1, ..Ping::to(&b.v4) }.run(&a.netns).unwrap();
            assert_eq!(answers.received, 1);
            answers.rtts[0].1
        })
        .collect();
    first.sort_unstable();
    println!("first echo after idleness: {first:?}");
    assert!(first[2] < FIRST_ECHO, "the first echo took {first:?}");
}

#[test]
fn ten_kernel_ports() {
    require!(root(), file("/dev/net/tun"), shuntd());
    let mut kinds = vec![Kind::Veth; 5];
    kinds.extend([Kind::Tap; 5]);
    idles(&Node::start(&Plan { pods: &kinds, quiet: true, ..Plan::default() }));
}

#[test]
fn sockets_that_wait_for_guests() {
    require!(root(), shuntd());
    let port = |n| format!("[[port]]\nname = \"vm{n}\"\nkind = \"vhost-user\"\npath = \"DIR/vm{n}\"\n");
    let tail: String = (0..8).map(port).collect();
    idles(&Node::start(&Plan {
        pods: &[Kind::Veth, Kind::Veth],
        tail: &tail,
        quiet: true,
        ..Plan::default()
    }));
}

/// With a port that cannot wake it, a worker looks at `max_sleep`: dearer, and bounded by that.
#[test]
fn a_port_without_wake_up_descriptor() {
    require!(root(), shuntd());
    let head = format!("{}[workers]\nmax_sleep = \"900us\"\n", node::MEMORY);
    let tail = "[[port]]\nname = \"sink\"\nkind = \"dpdk\"\ndevargs = \"net_null_sink,no-rx=1\"\n";
    let plan = Plan { pods: &[Kind::Veth, Kind::Veth], head: &head, tail, quiet: true, ..Plan::default() };
    let node = Node::start(&plan);
    let pid = daemon(&node);
    let (spent, start) = (processor_time(pid), Instant::now());
    thread::sleep(Duration::from_secs(3));
    let share = (processor_time(pid) - spent).as_secs_f64() / start.elapsed().as_secs_f64();
    println!("polling every 900 us: {:.1} % of a core", share * 100.0);
    assert!(share < 0.2, "{:.1} % of a core", share * 100.0);
    traffic::ping_v4(&node.pods[0], &node.pods[1], 20).unwrap();
}

/// DPDK's own threads and those of vhost-user included: one that wakes up there takes the worker's time.
#[test]
fn nothing_but_a_worker_may_run_on_its_core() {
    require!(root(), shuntd());
    let head = format!("{}[workers]\ncores = [1]\n", node::MEMORY);
    let tail = "[[port]]\nname = \"vm\"\nkind = \"vhost-user\"\npath = \"DIR/vm\"\n";
    let plan = Plan { pods: &[Kind::Veth], head: &head, tail, quiet: true, ..Plan::default() };
    let node = Node::start(&plan);
    let mut workers = 0;
    for thread in fs::read_dir(format!("/proc/{}/task", daemon(&node))).unwrap() {
        let place = thread.unwrap().path();
        // One may have ended meanwhile.
        let Ok(status) = fs::read_to_string(place.join("status")) else { continue };
        let field = |name: &str| {
            let line = status.lines().find(|line| line.starts_with(name)).unwrap();
            line[name.len()..].trim().to_owned()
        };
        let (name, cores) = (field("Name:"), field("Cpus_allowed_list:"));
        if name.starts_with("shunt-worker") {
            workers += 1;
            assert_eq!(cores, "1", "{name}");
        } else {
            let meets = cores.split(',').any(|range| {
                let (first, last) = range.split_once('-').unwrap_or((range, range));
                (first.parse::<u32>().unwrap()..=last.parse().unwrap()).contains(&1)
            });
            assert!(!meets, "{name} may run on {cores}");
        }
    }
    assert_eq!(workers, 1);
}
