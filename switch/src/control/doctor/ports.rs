//! Single ports: state, link, the last frame, VLANs, senders, MTU, what is set in the kernel.

use std::collections::BTreeSet;

use super::chart::{Check, explains};
use super::pulse::Dropped;
use super::{Caches, Examination, Findings, RECENT, State};
use crate::control::Control;
use crate::control::status::PortRow;
use crate::control::why::{self, RefusalRow};
use crate::drop::DropReason;
use crate::flow::Verdict;
use crate::ids::PortId;

/// Frames sent to a port that never says anything, and seconds that it is there, from which on that is worth a word.
const UNANSWERED: (u64, u64) = (20, 30);

/// Refused flows that are shown for a reason.
const SHOWN: usize = 3;
/// The checks whose drops are told of a single port.
const TOLD: [Check; 7] =
    [Check::Policy, Check::Identity, Check::Route, Check::Tunnel, Check::Service, Check::Mtu, Check::Worker];
/// Frames of a wrong VLAN that are nothing to speak of.
const STRAYS: u64 = 2;

/// A drop in words.
pub(super) fn in_words(dropped: &Dropped) -> String {
    let Dropped { reason, count, age } = dropped;
    let text = reason.describe().trim_end_matches('.');
    format!("{} {count} times, the last {age} s ago: {text}", reason.name())
}

impl Control {
    /// Looks at the ports that are meant: those of the pair, else all.
    pub(super) fn check_ports(
        &mut self,
        examination: &Examination,
        caches: &Caches,
        findings: &mut Findings,
    ) {
        let meant = examination.meant();
        // Addresses of nobody here, too, are reached by some port.
        let all = meant.is_empty();
        let rows = self.ports();
        for row in rows
            .iter()
            .filter(|row| all || PortId::new(row.slot as usize).is_some_and(|id| meant.contains(&id)))
        {
            let Some(id) = PortId::new(row.slot as usize) else { continue };
            if self.check_state(id, row, findings) {
                self.check_received(id, row, findings);
                self.check_vlans(id, row, caches, findings);
                self.check_size(id, row, findings);
            }
            self.check_refused(id, row, examination, caches, findings);
        }
        // What the kernel has may be wrong on any of them.
        self.check_kernel(&meant, findings);
    }

    /// Administrative state, device, link. True when frames can come.
    fn check_state(&self, id: PortId, row: &PortRow, findings: &mut Findings) -> bool {
        let name = &row.name;
        let age = format!("for {} s", row.seconds);
        if !row.admin_up {
            findings.fail(Check::Admin, name, "administratively down", format!("shunt port up {name}"));
            return false;
        }
        if row.oper_up && self.ports.get(id).is_some_and(|port| self.policies.is_awaited(&port.config.name)) {
            let evidence = "closed until its pod is known (`needs_pod`)";
            findings.fail(Check::Admin, name, evidence, "apply the pod: `shunt apply -f pod.yaml`");
            return false;
        }
        findings.ok(Check::Admin, name, "up");
        if !row.oper_up {
            let fix = match row.kind.as_str() {
                "veth" => format!(
                    "make the veth pair again (restart the pod or the CNI), then `shunt port reset {name}`"
                ),
                _ => format!("mend what it says, then `shunt port reset {name}`"),
            };
            findings.fail(Check::Device, name, format!("not open {age}: {}", row.about), fix);
            return false;
        }
        findings.ok(Check::Device, name, format!("open {age}, {}", row.about));
        if !row.link {
            let (evidence, fix) = match row.kind.as_str() {
                "veth" | "af_xdp" => (
                    "no carrier: the other end is down or gone",
                    format!(
                        "set the other end up (`ip link set eth0 up` in the pod) or restart the pod; `shunt addr show {name}`"
                    ),
                ),
                "vhost-user" | "memif" => {
                    ("nobody is attached", format!("start the guest, or `shunt port reset {name}`"))
                }
                _ => (
                    "no carrier",
                    format!("look at the cable and the switch at its other end; `shunt addr show {name}`"),
                ),
            };
            findings.fail(Check::Link, name, evidence, fix);
            return false;
        }
        findings.ok(Check::Link, name, "carrier, the other end is up");
        true
    }

    fn check_received(&self, id: PortId, row: &PortRow, findings: &mut Findings) {
        let (name, packets, sent) = (&row.name, row.rx_packets, row.tx_packets);
        let missed =
            if row.missed > 0 { format!(", {} missed below the switch", row.missed) } else { String::new() };
        match self.pulse.received(id, self.now()) {
            Some(age) => {
                findings.ok(Check::Received, name, format!("{packets} frames, the last {age} s ago{missed}"));
            }
            None if sent >= UNANSWERED.0 && row.seconds >= UNANSWERED.1 => {
                let fix = format!("look at the pod's interface; `shunt tcpdump -i {name}`");
                findings.warn(
                    Check::Received,
                    name,
                    format!("nothing ever, and {sent} frames were sent to it"),
                    fix,
                );
            }
            None => findings.ok(Check::Received, name, format!("nothing yet, {sent} frames were sent to it")),
        }
    }

    /// The VLANs that are configured against those that come.
    fn check_vlans(&self, id: PortId, row: &PortRow, caches: &Caches, findings: &mut Findings) {
        let topology = self.publisher.current();
        let Some(vlans) = topology.port(id).and_then(|port| port.vlans.as_ref()) else { return };
        let name = &row.name;
        let want = why::accepted(vlans);
        let ours =
            caches.flows.iter().filter(|(entry, age)| entry.key.port() == id.index() && *age <= RECENT);
        let (mut taken, mut wrong) = (BTreeSet::new(), BTreeSet::new());
        for (entry, _) in ours {
            let got = why::carried(&entry.key);
            match entry.actions.verdict {
                Verdict::Drop(DropReason::VlanMismatch) => wrong.insert(got),
                _ => taken.insert(got),
            };
        }
        let list = |vids: &BTreeSet<String>| vids.iter().map(String::as_str).collect::<Vec<_>>().join(",");
        let lately = self.pulse.dropped(id, self.now(), RECENT);
        let counted = lately.iter().find(|dropped| dropped.reason == DropReason::VlanMismatch);
        let Some(counted) = counted else {
            let seen = if taken.is_empty() { "nothing lately".to_owned() } else { list(&taken) };
            return findings.ok(Check::Vlan, name, format!("takes {want}; seen {seen}"));
        };
        let got = if wrong.is_empty() { "?".to_owned() } else { list(&wrong) };
        let evidence = format!(
            "vlan_mismatch(got={got},want={want}) {} times, the last {} s ago",
            counted.count, counted.age
        );
        let fix = format!(
            "correct `vlan` of the network, `trunk` of {name}, or the port of the switch at its other end; `shunt list port {name}`"
        );
        // A trunk may carry more than is meant for us, and a machine says something untagged as it comes up; a port of which nothing
        // is taken is wrong.
        let state = match counted.count.saturating_mul(2) >= row.rx_packets {
            _ if counted.count <= STRAYS => State::Ok,
            mostly if mostly || taken.is_empty() && !wrong.is_empty() => State::Fail,
            _ => State::Warn,
        };
        let fix = if state == State::Ok { String::new() } else { fix };
        findings.add(state, Check::Vlan, name, evidence, fix);
    }

    /// The kernel's MTU against that of the port.
    fn check_size(&self, id: PortId, row: &PortRow, findings: &mut Findings) {
        let Some(device) = self.ports.get(id).and_then(|port| port.device_mtu()) else { return };
        let (name, mtu) = (&row.name, row.mtu);
        let evidence = format!("its device takes {device} bytes, the switch sends up to {mtu}");
        if device < u32::from(mtu) {
            let kernel = row_device(self, id).unwrap_or_else(|| name.clone());
            let fix = format!(
                "`ip link set {kernel} mtu {mtu}`, and the same in the pod; or `mtu = {device}` for the port"
            );
            findings.fail(Check::Mtu, name, evidence, fix);
        } else {
            findings.ok(Check::Mtu, name, evidence);
        }
    }

    /// What is dropped of the port's frames, by who or what refuses it.
    fn check_refused(
        &self,
        id: PortId,
        row: &PortRow,
        examination: &Examination,
        caches: &Caches,
        findings: &mut Findings,
    ) {
        let name = &row.name;
        for dropped in &self.pulse.dropped(id, self.now(), RECENT) {
            let check = explains(dropped.reason);
            // VLANs and connections have a check of their own, and kernels send multicast that nobody has asked for.
            if !TOLD.contains(&check) || dropped.reason == DropReason::NotRoutable {
                continue;
            }
            let reason = dropped.reason.name();
            let flows = caches.refused.iter();
            let flows: Vec<_> = flows
                .filter(|flow| flow.port == *name && flow.reason == reason && flow.age <= RECENT)
                .filter(|flow| examination.concerns(flow))
                .collect();
            let alone = examination.to.is_none();
            if flows.is_empty() && !alone {
                continue;
            }
            // Who complains means it; else somebody may have tried what is meant not to work. Senders find the MTU of a path by
            // what is dropped, and their rate.
            let usual = matches!(check, Check::Mtu | Check::Worker);
            let state = if examination.complaint && !usual { State::Fail } else { State::Warn };
            let shown =
                flows.iter().take(SHOWN).map(|flow| format!("; {}", refused_in_words(flow, dropped.reason)));
            let evidence = shown.fold(in_words(dropped), |all, one| all + &one);
            findings.add(state, check, name, evidence, fix(dropped.reason, name));
        }
    }

    /// What is set in the kernel against what the configuration says.
    fn check_kernel(&self, meant: &BTreeSet<PortId>, findings: &mut Findings) {
        if !findings.wants(Check::Host) {
            return;
        }
        for port in self.ports.iter() {
            let name = port.config.name.as_str();
            match port.lost() {
                None => {}
                Some(Ok(missing)) if !missing.is_empty() => {
                    let missing: Vec<String> = missing.iter().map(ToString::to_string).collect();
                    let evidence = format!("in the kernel: {}", missing.join("; "));
                    findings.fail(Check::Host, name, evidence, "shunt resync");
                }
                Some(Ok(_)) if meant.is_empty() || meant.contains(&port.id) => {
                    findings.ok(Check::Host, name, "the kernel has what was set");
                }
                Some(Ok(_)) => {}
                Some(Err(error)) => {
                    findings.warn(Check::Host, name, error.to_string(), format!("shunt port reset {name}"));
                }
            }
        }
    }
}

/// A refused flow in words, with what is missing for it.
fn refused_in_words(flow: &RefusalRow, reason: DropReason) -> String {
    let port = flow.destination_port.map_or_else(String::new, |port| format!(" {port}"));
    let why = match reason {
        reason if reason.is_policy() => format!(": {}", flow.why),
        DropReason::NoRoute => missing_prefix(&flow.destination),
        _ => String::new(),
    };
    format!("{} > {} {}{port}{why}", flow.source, flow.destination, flow.protocol)
}

/// The prefix that a router would need to reach `address`.
pub(super) fn missing_prefix(address: &str) -> String {
    let length = if address.contains(':') { 128 } else { 32 };
    format!(", missing prefix {address}/{length} or a shorter one that holds it")
}

/// The kernel's name of the port's device.
fn row_device(control: &Control, id: PortId) -> Option<String> {
    control.ports.get(id)?.config.device().map(ToOwned::to_owned)
}

/// What to do about drops of a reason at a port.
pub(super) fn fix(reason: DropReason, port: &str) -> String {
    match explains(reason) {
        Check::Policy => "`shunt drops --why` and `shunt show policies`; change the policy or delete it: `shunt delete networkpolicy NAME -n NAMESPACE`".to_owned(),
        Check::Identity => format!("give the sender its own address, or correct `endpoints` of {port}: `shunt addr show {port}`"),
        Check::Route if reason == DropReason::OverlayUnreachable => "give the address to an endpoint, or its prefix to a peer (`prefixes` of `peers`): `shunt show config > node.toml`, edit, `shunt apply node.toml`".to_owned(),
        Check::Route => "add the missing prefix to `routes` of the router: `shunt show config > node.toml`, edit, `shunt apply node.toml`".to_owned(),
        Check::Neighbor => format!("see that its station is up and has the address; `shunt tcpdump -i {port} -e arp`"),
        Check::Fdb => "`shunt fdb show`; give the station as an endpoint of its port or peer".to_owned(),
        Check::Tunnel => "`shunt neigh show` in the network that carries the tunnel; correct `peers` of the overlay on both nodes".to_owned(),
        Check::Mtu => "let the sender's MTU be that of the path: `shunt addr show` has the networks'; `ip link set DEVICE mtu N`, in the pod too".to_owned(),
        Check::Service => "`shunt show services`; see that its pods are ready".to_owned(),
        Check::Connections => "`shunt conntrack -S`; the limits are under [connections]".to_owned(),
        Check::Link => format!("shunt addr show {port}"),
        Check::Vlan => format!("shunt list port {port}"),
        Check::Worker => "shunt show workers --watch 1".to_owned(),
        Check::Buffers => "raise `mbufs` under [memory] and restart shuntd".to_owned(),
        _ => format!("shunt tcpdump -i {port} drop {}", reason.name()),
    }
}
