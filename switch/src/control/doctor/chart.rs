//! The references' tables of symptoms as data: each check with its row (symptom, cause), the words that choose it, and the
//! drop reasons that it explains.

use crate::drop::DropReason;

macro_rules! checks {
    ($($(#[doc = $doc:literal])+ $variant:ident = $name:literal, $symptom:literal, $cause:literal, $row:literal;)+) => {
        /// Something that is looked at. The sentence here is the one in docs/doctor.md.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Check {
            $($(#[doc = $doc])+ $variant,)+
        }

        impl Check {
            /// All of them, in the order in which they are shown.
            pub const ALL: &'static [Check] = &[$(Check::$variant,)+];

            /// Its name, as printed.
            pub const fn name(self) -> &'static str {
                match self { $(Check::$variant => $name,)+ }
            }

            /// What it is about, in one sentence.
            pub const fn describe(self) -> &'static str {
                match self { $(Check::$variant => concat!($($doc),+).trim_ascii(),)+ }
            }

            /// The symptom of its row.
            pub const fn symptom(self) -> &'static str {
                match self { $(Check::$variant => $symptom,)+ }
            }

            /// The cause of its row, and the reference document that has it.
            pub const fn cause(self) -> (&'static str, &'static str) {
                match self { $(Check::$variant => ($cause, $row),)+ }
            }
        }
    };
}

checks! {
    /// The port is administratively up.
    Admin = "admin", "ping: timeout", "the pod's port is switched off", "001";
    /// The port's device is open.
    Device = "device", "ping: timeout", "veth pair wrong", "001";
    /// There is a carrier: the pod's end is there and up.
    Link = "link", "ping: timeout", "veth pair wrong", "001";
    /// When the port last received something.
    Received = "received", "ping: timeout", "the pod does not send", "001";
    /// The VLANs of frames that come are those that are configured.
    Vlan = "vlan", "ARP fails", "wrong VLAN", "000";
    /// Senders have the addresses that are configured.
    Identity = "identity", "permission denied", "a sender uses an address that is not its own", "000";
    /// The physical network has a port with a carrier.
    Uplink = "uplink", "network unreachable", "physical network not configured", "000";
    /// What the daemon has set in the kernel for its ports (state, MTU, addresses, routes) is still there.
    Host = "host", "network unreachable", "addresses or routes of the node are gone", "000";
    /// Routers that routes lead to answer ARP or ND.
    Gateway = "gateway", "ping: timeout", "physical network unreachable", "000";
    /// The next hop's MAC address is known.
    Neighbor = "neighbor", "ARP fails", "nobody answers for the address", "000";
    /// There is a route.
    Route = "route", "no route to host", "missing route", "000";
    /// The port or peer behind which a MAC address is.
    Fdb = "fdb", "ping: timeout", "the station is not known where the packet is sent to", "001";
    /// There is a way to the other end of each tunnel.
    Tunnel = "tunnel", "ping: timeout", "the other node is not reached", "002";
    /// The largest packet of the sender reaches the receiver.
    Mtu = "mtu", "ping works, large packets are lost", "MTU mismatch on the path", "000";
    /// Policies allow it.
    Policy = "policy", "permission denied", "a NetworkPolicy blocks it", "001";
    /// Somebody answers for the service.
    Service = "service", "connection refused", "the service has nobody who answers", "003";
    /// There is room for connections and for translated ports.
    Connections = "connections", "new connections fail, old ones live", "the connection table or the ports of an address are used up", "002";
    /// Workers have time left.
    Worker = "worker", "latency above 5 ms", "too little CPU", "001";
    /// Workers get the cores that they are on.
    Cpu = "cpu", "latency above 5 ms", "too little CPU", "001";
    /// There are free packet buffers.
    Buffers = "buffers", "latency above 5 ms, loss", "too few packet buffers", "001";
    /// Every worker runs the newest topology.
    Generation = "generation", "network unreachable", "a flow is missing", "001";
    /// The newest topology is what the running configuration makes.
    Tables = "tables", "network unreachable", "a flow is missing", "001";
    /// Where the packet goes.
    Way = "way", "ping: timeout", "the packet is dropped on the way", "000, 001";
}

use Check::{
    Admin, Buffers, Connections, Cpu, Device, Fdb, Gateway, Generation, Host, Identity, Link, Mtu, Neighbor,
    Policy, Received, Route, Service, Tables, Tunnel, Uplink, Vlan, Way, Worker,
};

/// Words of a symptom, and the checks that they choose.
pub type Trigger = (&'static [&'static str], &'static [Check]);

/// What `--symptom` takes. The references' own triggers are among the words.
pub const TRIGGERS: &[Trigger] = &[
    (
        &["timeout", "timed out", "unreachable gateway", "pod ping"],
        &[
            Admin,
            Device,
            Link,
            Received,
            Vlan,
            Identity,
            Uplink,
            Gateway,
            Neighbor,
            Fdb,
            Tunnel,
            Mtu,
            Connections,
            Way,
        ],
    ),
    (
        &["no route to host", "host unreachable", "路由模式"],
        &[Gateway, Neighbor, Route, Tunnel, Service, Way],
    ),
    (
        &["network unreachable", "network is unreachable", "物理网络", "underlay"],
        &[Admin, Device, Link, Uplink, Host, Gateway, Route, Tunnel, Generation, Tables, Way],
    ),
    (&["permission denied", "prohibited", "refused"], &[Policy, Identity, Service, Way]),
    (&["arp", "vlan"], &[Link, Vlan, Identity, Uplink, Gateway, Neighbor]),
    (&["latency", "slow", "延迟"], &[Worker, Cpu, Buffers, Connections]),
    (&["mtu", "large", "stall", "hangs"], &[Mtu]),
    (
        &["同节点", "本地通信", "节点内pod", "same node"],
        &[Admin, Device, Link, Received, Identity, Fdb, Policy, Generation, Tables, Way],
    ),
    (
        &["跨节点", "cross node"],
        &[Link, Vlan, Uplink, Host, Gateway, Neighbor, Route, Tunnel, Mtu, Policy, Way],
    ),
];

/// The checks that the words of a symptom choose, all when there are none.
///
/// # Errors
/// No trigger is in them: what there is.
pub fn chosen(symptom: &str) -> Result<Vec<Check>, String> {
    let said = symptom.to_lowercase();
    if said.trim().is_empty() {
        return Ok(Check::ALL.to_vec());
    }
    let meant = TRIGGERS.iter().filter(|(words, _)| words.iter().any(|word| said.contains(word)));
    let checks: Vec<Check> = meant.flat_map(|(_, checks)| checks.iter().copied()).collect();
    if checks.is_empty() {
        let known: Vec<&str> = TRIGGERS.iter().flat_map(|(words, _)| words.iter().copied()).collect();
        return Err(format!("no symptom is called {symptom:?}; write one with {}", known.join(", ")));
    }
    Ok(Check::ALL.iter().copied().filter(|check| checks.contains(check)).collect())
}

/// The check that explains a drop.
pub fn explains(reason: DropReason) -> Check {
    use DropReason as R;
    match reason {
        R::IngressDown | R::EgressDown | R::LinkDown => Link,
        R::VlanMismatch | R::NoTag => Vlan,
        R::SpoofedMac | R::SpoofedIp | R::SpoofedArp | R::Martian | R::SourceIsGateway | R::SourceIsGroup => {
            Identity
        }
        R::NoRoute | R::Blackhole | R::NotRoutable | R::OverlayUnreachable => Route,
        R::NeighborUnresolved => Neighbor,
        R::NoFdbEntry | R::SamePort | R::NoReceiver | R::NoStation => Fdb,
        R::TunnelUnknownPeer
        | R::TunnelUnknownVni
        | R::TunnelLoop
        | R::TunnelInnerSource
        | R::TunnelBadHeader
        | R::TunnelFragment
        | R::TunnelBadChecksum
        | R::SplitHorizon => Tunnel,
        R::TooLong | R::TooBig | R::TxRefused | R::TooLongForBuffer | R::TooManySegments => Mtu,
        R::PolicyEgress | R::PolicyIngress | R::OverlayNotReachable => Policy,
        R::ServiceNoPort
        | R::ServiceNoEndpoints
        | R::ServiceNoneHere
        | R::ServiceSourceRefused
        | R::ServiceNoSource => Service,
        R::NoMasqueradeAddress
        | R::MasqueradePorts
        | R::ConnectionsFull
        | R::ConnectionLimit
        | R::ConnectionRate
        | R::ConnectionZone => Connections,
        R::TxFull => Worker,
        R::NoBuffers => Buffers,
        _ => Way,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_trigger_of_the_references_chooses_checks() {
        for symptom in [
            "ping: timeout",
            "no route to host",
            "ARP fails",
            "network unreachable",
            "permission denied",
            "high latency (>5ms)",
            "跨节点",
            "underlay",
            "vlan",
            "物理网络",
            "路由模式",
            "同节点",
            "本地通信",
            "pod ping",
            "节点内pod",
        ] {
            assert!(!chosen(symptom).unwrap().is_empty(), "{symptom}");
        }
        assert!(chosen("ping: timeout").unwrap().contains(&Link));
        assert!(chosen("Permission Denied").unwrap().contains(&Policy));
        assert_eq!(chosen("").unwrap(), Check::ALL);
        let refused = chosen("toothache").unwrap_err();
        assert!(refused.contains("\"toothache\"") && refused.contains("no route to host"), "{refused}");
    }

    #[test]
    fn the_page_has_every_check_and_every_trigger() {
        let page = include_str!("../../../../docs/doctor.md");
        for check in Check::ALL {
            assert!(page.contains(&format!("\n| `{}` | ", check.name())), "{check:?}");
        }
        let quoted =
            |words: Vec<&str>| words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ");
        for (words, checks) in TRIGGERS {
            let checks = checks.iter().map(|check| check.name()).collect();
            let row = format!("| {} | {} |", quoted(words.to_vec()), quoted(checks));
            assert!(page.contains(&row), "{row}");
        }
    }

    #[test]
    fn names_are_unique_and_rows_whole() {
        let names: std::collections::BTreeSet<_> = Check::ALL.iter().map(|check| check.name()).collect();
        assert_eq!(names.len(), Check::ALL.len());
        for check in Check::ALL {
            assert!(check.describe().ends_with('.'), "{check:?}");
            assert!(
                TRIGGERS.iter().any(|(_, checks)| checks.contains(check)),
                "no symptom chooses {check:?}"
            );
        }
        assert_eq!(explains(DropReason::PolicyIngress), Policy);
        assert_eq!(explains(DropReason::NoRoute), Route);
    }
}
