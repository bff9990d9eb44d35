//! A node with a bond of two links, and what is at their other ends.

use std::time::{Duration, Instant};

use serde_json::Value;
use shunt_tests::ovs::plain;
use shunt_tests::{Interface, Netns, Ovs, Ping, Shuntd, Veth};

/// The pod behind the bond.
pub(crate) const NEAR: &str = "10.70.0.1";
/// The one beyond it.
pub(crate) const FAR: &str = "10.70.0.2";
/// How long agreement may take: two seconds of waiting for each other, and a slow partner who must be told twice.
const AGREE: Duration = Duration::from_secs(45);

/// The far side: a switch with a pod, and two links that nobody has plugged in yet.
pub(crate) struct Far {
    pub(crate) pod: Netns,
    machine: Netns,
    ovs: Option<Ovs>,
    rate: &'static str,
}

/// The names of the far ends.
const LINKS: [&str; 2] = ["u0", "u1"];

fn pod(node: &Netns, address: &str) -> Netns {
    let pod = Netns::new().unwrap();
    let addrs = [format!("{address}/24")];
    let inside = Interface { addrs: &[&addrs[0]], ..Interface::default() };
    // It ends with the namespaces.
    std::mem::forget(Veth::pair("pod", Some(node), &pod, &inside).unwrap());
    pod
}

impl Far {
    /// Open vSwitch, which speaks LACP and wants to be spoken to at `rate`.
    #[track_caller]
    pub(crate) fn ovs(rate: &'static str) -> Self {
        let machine = Netns::new().unwrap();
        let ovs = Ovs::start_in(&machine).unwrap();
        ovs.add_bridge("br0").unwrap();
        let pod = pod(&machine, FAR);
        plain(&pod, "eth0").unwrap();
        ovs.add_port("br0", "pod", &[]).unwrap();
        Self { pod, machine, ovs: Some(ovs), rate }
    }

    /// The kernel's bridge: one segment, no LACP.
    #[track_caller]
    pub(crate) fn bridge() -> Self {
        let machine = Netns::new().unwrap();
        machine.exec(&["ip", "link", "add", "br0", "type", "bridge"]).unwrap();
        machine.exec(&["ip", "link", "set", "br0", "up"]).unwrap();
        let pod = pod(&machine, FAR);
        machine.exec(&["ip", "link", "set", "pod", "master", "br0"]).unwrap();
        Self { pod, machine, ovs: None, rate: "" }
    }

    /// Plugs both links in.
    fn plug(&self) {
        match &self.ovs {
            Some(ovs) => {
                let time = format!("other_config:lacp-time={}", self.rate);
                // Flows that came while it used one link stay there until it looks at the load again.
                let balance = "other_config:bond-rebalance-interval=1000";
                let columns = ["lacp=active", "bond_mode=balance-tcp", &time, balance];
                ovs.add_bond("br0", "bond0", &LINKS, &columns).unwrap();
            }
            None => {
                for link in LINKS {
                    self.machine.exec(&["ip", "link", "set", link, "master", "br0"]).unwrap();
                }
            }
        }
    }

    /// Sets a link up or down, which both ends see.
    #[track_caller]
    pub(crate) fn set_up(&self, link: usize, up: bool) {
        self.machine.exec(&["ip", "link", "set", LINKS[link], if up { "up" } else { "down" }]).unwrap();
    }

    /// What Open vSwitch says of LACP.
    #[track_caller]
    pub(crate) fn lacp(&self) -> String {
        self.ovs.as_ref().map_or_else(String::new, |ovs| ovs.appctl(&["lacp/show", "bond0"]).unwrap())
    }

    /// Links over which it hears us.
    pub(crate) fn current(&self) -> usize {
        self.lacp().matches(": current ").count()
    }

    /// Waits until it uses `links` links.
    #[track_caller]
    pub(crate) fn until_enabled(&self, links: usize) {
        let Some(ovs) = &self.ovs else { return };
        let deadline = Instant::now() + AGREE;
        loop {
            let text = ovs.appctl(&["bond/show", "bond0"]).unwrap();
            if text.matches(": enabled").count() == links {
                return;
            }
            assert!(Instant::now() < deadline, "{text}\n{}", self.lacp());
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

/// What the links go through on their way: a bridge for each, which also passes LACPDUs on, and can be taken apart while both ends keep
/// their carrier.
struct Middle(Netns);

impl Middle {
    fn new() -> Self {
        let place = Netns::new().unwrap();
        for link in 0..LINKS.len() {
            let bridge = format!("l{link}");
            place.exec(&["ip", "link", "add", "name", &bridge, "type", "bridge"]).unwrap();
            place.exec(&["ip", "link", "set", "dev", &bridge, "up"]).unwrap();
        }
        Self(place)
    }

    /// A cable from `device` of `place` to port `port` of the bridge of `link`.
    fn cable(&self, place: &Netns, device: &str, link: usize, port: &str) {
        let end = Interface { name: port, ..Interface::default() };
        std::mem::forget(Veth::pair(device, Some(place), &self.0, &end).unwrap());
        self.join(link, port);
    }

    fn join(&self, link: usize, port: &str) {
        self.0.exec(&["ip", "link", "set", "dev", port, "master", &format!("l{link}")]).unwrap();
        // 01-80-C2-00-00-02, which a bridge does not pass on unless it is told to.
        self.0
            .exec(&["ip", "link", "set", "dev", port, "type", "bridge_slave", "group_fwd_mask", "4"])
            .unwrap();
    }
}

/// What the members are to shunt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Veth,
    AfXdp,
    /// DPDK's own packet socket.
    AfPacket,
    /// Made by shunt; the test puts it where the far side takes it for a cable's end.
    Tap,
}

impl Kind {
    fn members(self) -> String {
        let member = |link: usize| match self {
            Self::Veth => format!("{{ kind = \"veth\", device = \"m{link}\" }}"),
            Self::AfXdp => format!("{{ kind = \"af_xdp\", device = \"m{link}\" }}"),
            Self::AfPacket => {
                let devargs = format!("net_af_packet{link},iface=m{link},blocksz=16384,framesz=2048");
                format!("{{ kind = \"dpdk\", name = \"m{link}\", devargs = \"{devargs}\" }}")
            }
            Self::Tap => format!("{{ kind = \"tap\", device = \"{}\" }}", LINKS[link]),
        };
        [0, 1].map(member).join(", ")
    }
}

/// The near side: shunt with a pod and a bond to the far side.
pub(crate) struct Bond {
    pub(crate) shuntd: Shuntd,
    pub(crate) pod: Netns,
    pub(crate) far: Far,
    middle: Option<Middle>,
    _node: Netns,
}

impl Bond {
    /// Starts it, each link a cable; `keys` are those of the bond.
    #[track_caller]
    pub(crate) fn start(far: Far, keys: &str) -> Self {
        Self::on(far, None, Kind::Veth, keys)
    }

    /// The same with members of that kind.
    #[track_caller]
    pub(crate) fn of(kind: Kind, far: Far, keys: &str) -> Self {
        Self::on(far, None, kind, keys)
    }

    /// The same with something on each link's way, so that neither end sees what becomes of the other.
    #[track_caller]
    pub(crate) fn start_at_a_distance(far: Far, keys: &str) -> Self {
        Self::on(far, Some(Middle::new()), Kind::Veth, keys)
    }

    #[track_caller]
    fn on(far: Far, middle: Option<Middle>, kind: Kind, keys: &str) -> Self {
        let node = Netns::new().unwrap();
        let pod = pod(&node, NEAR);
        if kind != Kind::Veth {
            // A packet socket of DPDK or Open vSwitch takes a frame for finished, also one that came out of a TAP.
            plain(&pod, "eth0").unwrap();
        }
        for (link, name) in LINKS.into_iter().enumerate() {
            if kind == Kind::Tap {
                continue;
            }
            let ours = format!("m{link}");
            match &middle {
                None => {
                    let end = Interface { name, ..Interface::default() };
                    std::mem::forget(Veth::pair(&ours, Some(&node), &far.machine, &end).unwrap());
                }
                Some(middle) => {
                    middle.cable(&node, &ours, link, &format!("near{link}"));
                    middle.cable(&far.machine, name, link, &format!("far{link}"));
                }
            }
            plain(&node, &ours).unwrap();
        }
        if kind != Kind::Tap {
            far.plug();
        }
        let members = kind.members();
        let config = format!(
            "[memory]\nhugepages = \"never\"\n[workers]\ncount = 2\npoll = \"adaptive\"\n\
             [[port]]\nname = \"pod\"\nkind = \"veth\"\ndevice = \"pod\"\nplacement = [1]\n\
             [[port]]\nname = \"bond0\"\nkind = \"bond\"\n\
             members = [{members}]\n{keys}\n"
        );
        let shuntd = Shuntd::start_in(&node, &config).unwrap();
        if kind == Kind::Tap {
            for name in LINKS {
                let cable = Interface { name, ..Interface::default() };
                shunt_tests::tap::configure(&node, &cable, AGREE).unwrap();
                node.exec(&["ip", "link", "set", "dev", name, "netns", far.machine.name()]).unwrap();
                far.machine.exec(&["ip", "link", "set", "dev", name, "up"]).unwrap();
            }
            far.plug();
        }
        Self { shuntd, pod, far, middle, _node: node }
    }

    /// The bond as `shunt show bonds` has it.
    #[track_caller]
    pub(crate) fn bond(&self) -> Value {
        self.shuntd.cli(&["show", "bonds", "--json"]).unwrap()[0].clone()
    }

    /// Its members.
    #[track_caller]
    pub(crate) fn members(&self) -> Vec<Value> {
        self.bond()["members"].as_array().cloned().unwrap_or_default()
    }

    /// A counter of every member is more than `by` above what it was.
    pub(crate) fn grew(&self, before: &[Value], counter: &str, by: u64) -> bool {
        let count = |member: &Value| member[counter].as_u64().unwrap_or(0);
        self.members().iter().zip(before).all(|(now, was)| count(now) > count(was) + by)
    }

    /// Waits until `is` holds.
    #[track_caller]
    pub(crate) fn until(&self, is: impl Fn(&Self) -> bool) {
        let deadline = Instant::now() + AGREE;
        while !is(self) {
            assert!(Instant::now() < deadline, "{}\n{}", self.state(), self.far.lacp());
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// The far pod answers every one of `count` echo requests.
    #[track_caller]
    pub(crate) fn answered(&self, count: u32) {
        let answers = Ping { count, ..Ping::to(FAR) }.run(&self.pod).unwrap();
        assert_eq!((answers.received, answers.duplicates), (count, 0), "{}", self.state());
    }

    /// The member over which echo requests from pod to pod leave.
    #[track_caller]
    pub(crate) fn used_by_ping(&self) -> usize {
        let count = |members: &[Value]| -> Vec<u64> {
            members.iter().map(|member| member["tx_packets"].as_u64().unwrap()).collect()
        };
        let before = count(&self.members());
        self.answered(50);
        let mut grown = Vec::new();
        self.until(|bond| count(&bond.members()).iter().sum::<u64>() >= before.iter().sum::<u64>() + 50);
        grown.extend(count(&self.members()).iter().zip(&before).map(|(now, was)| now - was));
        let most = grown.iter().max().copied().unwrap_or(0);
        grown.iter().position(|it| *it == most).unwrap()
    }

    /// What either side sends over a link is lost, or is not any longer; the link stays up at both ends.
    #[track_caller]
    pub(crate) fn silence(&self, link: usize, silent: bool) {
        let middle = self.middle.as_ref().expect("there is something in between");
        let port = format!("near{link}");
        if silent {
            middle.0.exec(&["ip", "link", "set", "dev", &port, "nomaster"]).unwrap();
        } else {
            middle.join(link, &port);
        }
    }

    /// Only what we send is lost: the queue to the far side takes no frame longer than ten bytes (tc-tbf(8), `burst`).
    #[track_caller]
    pub(crate) fn silence_ours(&self, link: usize) {
        let middle = self.middle.as_ref().expect("there is something in between");
        let port = format!("far{link}");
        let queue = ["root", "tbf", "rate", "8bit", "burst", "10", "limit", "10"];
        let words = ["tc", "qdisc", "replace", "dev", &port].into_iter().chain(queue).collect::<Vec<_>>();
        middle.0.exec(&words).unwrap();
    }

    /// What there is to see of it.
    pub(crate) fn state(&self) -> String {
        let shown = |what| self.shuntd.cli_text(&["show", what]).unwrap_or_else(|error| error.to_string());
        ["bonds", "ports", "drops", "fdb"].map(shown).concat()
    }
}
