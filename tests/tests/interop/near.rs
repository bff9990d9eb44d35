//! The near side: shuntd in a node of its own, its uplink in the transport network, one pod in the overlay.

use shunt_tests::scene::build::PATIENCE;
use shunt_tests::{Interface, Netns, Shuntd, Veth};

use super::far::{Far, Fdb};
use super::plan::{self, Kind, Side, Transport};

/// The switch and its pod.
pub(crate) struct Near {
    pub(crate) shuntd: Shuntd,
    pub(crate) pod: Netns,
    _node: Netns,
}

/// Routers, the transport network and the ports; networks and the pod's keys are added.
const BASE: &str = r#"
[memory]
hugepages = "never"
[[router]]
name = "outside"
[[network]]
name = "transport"
router = "outside"
gateways = ["192.0.2.1/24", "fd00:192::1/64"]
[[port]]
name = "uplink"
kind = "veth"
device = "uplink"
network = "transport"
[[port]]
name = "pod"
kind = "veth"
device = "pod"
network = "overlay"
endpoints = [{ mac = "02:00:00:50:00:01", ip = ["10.50.0.1", "fd00:50::1"] }]
"#;

/// The configuration of a node with one tunnel to the far side; `keys` are further lines of the overlay.
pub(crate) fn config(kind: Kind, transport: Transport, fdb: Fdb, keys: &str) -> String {
    let peer = match fdb {
        Fdb::Learning => String::new(),
        Fdb::Static { mac } => format!(
            ", endpoints = [{{ mac = \"{mac}\", ip = [\"{}\", \"{}\"] }}]",
            Side::Far.inner_v4(),
            Side::Far.inner_v6()
        ),
    };
    format!(
        "{BASE}[[network]]\nname = \"overlay\"\nkind = \"overlay\"\nencap = \"{}\"\nvni = {}\ntransport = \"transport\"\n\
         local = \"{}\"\nlearning = {}\nflood = true\npeers = [{{ address = \"{}\"{peer} }}]\n{keys}",
        kind.name(),
        plan::VNI,
        Side::Near.outer(transport),
        fdb == Fdb::Learning,
        Side::Far.outer(transport),
    )
}

impl Near {
    /// Starts it on a cable to the far side, and plugs that in.
    #[track_caller]
    pub(crate) fn start(config: &str, mtu: u32, far: &Far) -> Self {
        let (node, pod) = (Netns::new().unwrap(), Netns::new().unwrap());
        let uplink = Interface { name: "uplink", ..Interface::default() };
        // Both end with their namespaces.
        std::mem::forget(Veth::pair("uplink", Some(&node), &far.machine, &uplink).unwrap());
        far.plug(Side::Far).unwrap();
        far.suit(&node).unwrap();
        let (v4, v6) = Side::Near.inner_prefixes();
        let inside =
            Interface { mac: Some(Side::Near.mac()), addrs: &[&v4, &v6], mtu, ..Interface::default() };
        std::mem::forget(Veth::pair("pod", Some(&node), &pod, &inside).unwrap());
        let shuntd = Shuntd::start_in(&node, config).unwrap();
        let up = |ports: &serde_json::Value| {
            ports.as_array().into_iter().flatten().all(|row| row["oper_up"] == true && row["link"] == true)
        };
        shuntd.cli_until(&["show", "ports", "--json"], PATIENCE, up).unwrap();
        Self { shuntd, pod, _node: node }
    }

    /// What there is to see of it.
    pub(crate) fn state(&self) -> String {
        let shown = |what| {
            let text = self.shuntd.cli_text(&["show", what]).unwrap_or_else(|error| error.to_string());
            format!("{what}:\n{text}")
        };
        ["ports", "drops", "topology", "fdb"].into_iter().map(shown).collect()
    }
}
