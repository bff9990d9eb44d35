//! Pods: a namespace with one interface that leads to a port of the switch.

use shunt_tests::{Interface, Netns, Veth};

/// What connects a pod to the switch: the port kinds whose other side is the kernel's stack.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    Veth,
    Tap,
    Tun,
    AfXdp,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Veth, Self::Tap, Self::Tun, Self::AfXdp];

    /// The name of the port kind.
    pub fn name(self) -> &'static str {
        match self {
            Self::Veth => "veth",
            Self::Tap => "tap",
            Self::Tun => "tun",
            Self::AfXdp => "af_xdp",
        }
    }
}

/// A pod. Its interface is `eth0`, its port `pod<n>`.
pub struct Pod {
    /// What connects it.
    pub kind: Kind,
    /// Its port's name.
    pub port: String,
    /// Its IPv4 address.
    pub v4: String,
    /// Its IPv6 address.
    pub v6: String,
    /// The host end, for kinds that have one.
    pub veth: Option<Veth>,
    /// Itself.
    pub netns: Netns,
}

impl Pod {
    /// Makes the namespace, and the veth pair where the kind wants one; the other kinds' device is the daemon's to make.
    pub fn new(kind: Kind, n: u8, mtu: u32, quiet: bool, node: &Netns) -> Self {
        let netns = Netns::new().unwrap();
        if quiet {
            for scope in ["all", "default"] {
                netns.exec(&["sysctl", "-qw", &format!("net.ipv6.conf.{scope}.disable_ipv6=1")]).unwrap();
            }
        }
        let (v4, v6) = (format!("10.0.0.{n}"), format!("fd00::{n}"));
        let port = format!("pod{n}");
        let mut pod = Self { kind, port, v4, v6, veth: None, netns };
        if matches!(kind, Kind::Veth | Kind::AfXdp) {
            pod.plug(mtu, quiet, node);
        }
        pod
    }

    /// Makes the veth pair (anew).
    pub fn plug(&mut self, mtu: u32, quiet: bool, node: &Netns) {
        let (v4, v6) = (format!("{}/24", self.v4), format!("{}/64", self.v6));
        let both = [v4.as_str(), v6.as_str()];
        let addrs = if quiet { &both[..1] } else { &both[..] };
        let inside = Interface { addrs, mtu, ..Interface::default() };
        self.veth = Some(Veth::pair(&format!("h-{}", self.port), Some(node), &self.netns, &inside).unwrap());
    }

    /// Its section of a configuration.
    pub fn section(&self) -> String {
        let Self { kind, port, netns, v4, v6, .. } = self;
        let keys = match kind {
            Kind::Veth | Kind::AfXdp => format!("device = \"h-{port}\""),
            Kind::Tap | Kind::Tun => {
                format!(
                    "device = \"eth0\"\nnetns = \"{}\"\naddresses = [\"{v4}/24\", \"{v6}/64\"]",
                    netns.name()
                )
            }
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
