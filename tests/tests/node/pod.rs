//! Pods: a namespace with one interface that leads to a port of the switch.

use std::path::Path;

use shunt_tests::testpmd::{self, Forward, Options};
use shunt_tests::{Cmd, Interface, Netns, Testpmd, Veth, veth};

/// What connects a pod to the switch. The other side is the kernel's stack; for the last two, testpmd carries frames between its
/// end and a TAP device in the pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    Veth,
    Tap,
    Tun,
    AfXdp,
    /// DPDK's `net_af_packet` on the host end, which knows of no unfinished checksum: the pod's offloads are off.
    Dpdk,
    VhostUser,
    Memif,
}

impl Kind {
    /// Those whose other side is the kernel itself.
    pub const KERNEL: [Self; 4] = [Self::Veth, Self::Tap, Self::Tun, Self::AfXdp];

    /// The name of the port kind.
    pub fn name(self) -> &'static str {
        match self {
            Self::Veth => "veth",
            Self::Tap => "tap",
            Self::Tun => "tun",
            Self::AfXdp => "af_xdp",
            Self::Dpdk => "dpdk",
            Self::VhostUser => "vhost-user",
            Self::Memif => "memif",
        }
    }
}

/// A pod. Its interface is `eth0`, its port `pod<n>`.
pub struct Pod {
    /// What connects it.
    pub kind: Kind,
    /// Which one it is.
    pub number: u8,
    /// Without IPv6.
    pub quiet: bool,
    /// Its port's name.
    pub port: String,
    /// Its IPv4 address.
    pub v4: String,
    /// Its IPv6 address.
    pub v6: String,
    /// The host end, for kinds that have one.
    pub veth: Option<Veth>,
    /// The program on the other side, for kinds that need one.
    pub testpmd: Option<Testpmd>,
    /// Itself.
    pub netns: Netns,
}

impl Pod {
    /// Makes the namespace, and the veth pair where the kind wants one; the other kinds' device is the daemon's to make.
    pub fn new(kind: Kind, n: u8, mtu: u32, quiet: bool, node: &Netns) -> Self {
        let netns = Netns::new().unwrap();
        if quiet {
            silence(&netns);
        }
        let (v4, v6) = (format!("10.0.0.{n}"), format!("fd00::{n}"));
        let port = format!("pod{n}");
        let mut pod = Self { kind, number: n, quiet, port, v4, v6, veth: None, testpmd: None, netns };
        if matches!(kind, Kind::Veth | Kind::AfXdp | Kind::Dpdk) {
            pod.plug(mtu, quiet, node);
        }
        pod
    }

    /// Makes the veth pair (anew).
    pub fn plug(&mut self, mtu: u32, quiet: bool, node: &Netns) {
        // A guard deletes by name: the old one must not do so when the new pair is there.
        self.veth = None;
        let (v4, v6) = (format!("{}/24", self.v4), format!("{}/64", self.v6));
        let both = [v4.as_str(), v6.as_str()];
        let addrs = if quiet { &both[..1] } else { &both[..] };
        let inside = Interface { addrs, mtu, ..Interface::default() };
        let veth = Veth::pair(&format!("h-{}", self.port), Some(node), &self.netns, &inside).unwrap();
        if self.kind == Kind::Dpdk {
            veth.offloads_off().unwrap();
        }
        self.veth = Some(veth);
    }

    /// Starts what is on the other side of the daemon's sockets, in the kinds that have them.
    pub fn attach(&mut self, dir: &Path, mtu: u32) {
        let socket = dir.join(&self.port);
        let near = match self.kind {
            Kind::VhostUser => testpmd::virtio_user(0, &socket, "02:00:00:00:00:99", 1, false),
            Kind::Memif => testpmd::memif(0, &socket, 0, false),
            _ => return,
        };
        let device = veth::unique_name();
        // The driver's own choice of an address is the same in every testpmd.
        let mac = format!("02:00:00:00:01:{:02x}", self.number);
        let vdevs = vec![near, format!("net_tap0,iface={device},mac={mac}")];
        let mut testpmd = Testpmd::launch(&Options { vdevs, ..Options::default() }).unwrap();
        let step = |argv: &[&str]| Cmd::new(argv.iter().copied()).check().unwrap();
        step(&["ip", "link", "set", "dev", &device, "netns", self.netns.name(), "name", "eth0"]);
        let (v4, v6) = (format!("{}/24", self.v4), format!("{}/64", self.v6));
        Interface { addrs: &[&v4, &v6], mtu, ..Interface::default() }.configure(&self.netns).unwrap();
        testpmd.start(Forward::Io).unwrap();
        self.testpmd = Some(testpmd);
    }

    /// Its section of a configuration; `DIR` stands for the directory of sockets.
    pub fn section(&self) -> String {
        let Self { kind, number, port, netns, v4, v6, .. } = self;
        let v6 = if self.quiet { String::new() } else { format!(", \"{v6}/64\"") };
        let keys = match kind {
            Kind::Veth | Kind::AfXdp => format!("device = \"h-{port}\""),
            Kind::Dpdk => format!("devargs = \"net_af_packet_{port},iface=h-{port}\""),
            Kind::VhostUser | Kind::Memif => format!("path = \"DIR/{port}\""),
            // An address that is the same after a restart of the daemon: other pods have it in their neighbour tables.
            Kind::Tap | Kind::Tun => format!(
                "device = \"eth0\"\nnetns = \"{}\"\naddresses = [\"{v4}/24\"{v6}]\n\
                 peer_mac = \"02:00:00:00:02:{number:02x}\"",
                netns.name()
            ),
        };
        format!("[[port]]\nname = \"{port}\"\nkind = \"{}\"\n{keys}\n", kind.name())
    }

    /// MAC address of its interface.
    #[track_caller]
    pub fn mac(&self) -> String {
        let shown = self.netns.exec(&["cat", "/sys/class/net/eth0/address"]).unwrap();
        shown.stdout.trim().to_owned()
    }
}

/// Switches IPv6 off: interfaces then send nothing by themselves.
pub fn silence(netns: &Netns) {
    for scope in ["all", "default"] {
        netns.exec(&["sysctl", "-qw", &format!("net.ipv6.conf.{scope}.disable_ipv6=1")]).unwrap();
    }
}
