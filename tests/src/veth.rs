//! veth pairs: the pod's end configured, the host end left to the switch.

use std::process;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::{Cmd, Interface, LabError, Netns};

static NEXT: AtomicU32 = AtomicU32::new(0);

/// A device name that no other test uses, at most 15 characters.
pub fn unique_name() -> String {
    format!("sh{}v{}", process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

/// A veth pair. It ends with the pod's namespace, or on drop, whichever is first.
#[derive(Debug)]
pub struct Veth {
    host: String,
    node: Option<String>,
    pod: String,
    device: String,
}

impl Veth {
    /// Makes a pair: `host_name` in `node` (`None`: the namespace the test runs in), `inside` in `pod`, both up with the same MTU.
    /// Nothing else is changed inside the pod: no offload, no queue, no sysctl.
    ///
    /// # Errors
    /// When a step of `ip` fails: a name longer than 15 characters or in use.
    pub fn pair(
        host_name: &str,
        node: Option<&Netns>,
        pod: &Netns,
        inside: &Interface<'_>,
    ) -> Result<Self, LabError> {
        let mut add = vec!["ip"];
        if let Some(node) = node {
            add.extend(["-n", node.name()]);
        }
        add.extend([
            "link",
            "add",
            host_name,
            "type",
            "veth",
            "peer",
            "name",
            inside.name,
            "netns",
            pod.name(),
        ]);
        Cmd::new(add).check()?;
        let veth = Self {
            host: host_name.to_owned(),
            node: node.map(|n| n.name().to_owned()),
            pod: pod.name().to_owned(),
            device: inside.name.to_owned(),
        };
        inside.configure(pod)?;
        let mtu = inside.mtu.to_string();
        veth.ip(&["link", "set", "dev", host_name, "mtu", &mtu, "up"])?;
        Ok(veth)
    }

    /// Name of the host end: the `device` of a `veth` port.
    pub fn host_name(&self) -> &str {
        &self.host
    }

    /// Takes the carrier from both ends, or gives it back.
    ///
    /// # Errors
    /// When `ip link set` fails: the pair is gone.
    pub fn set_up(&self, up: bool) -> Result<(), LabError> {
        self.ip(&["link", "set", "dev", &self.host, if up { "up" } else { "down" }])
    }

    /// Switches checksum and segmentation offloads off inside the pod, as an `af_xdp` port on the host end needs.
    ///
    /// # Errors
    /// When `ethtool` fails or is not there.
    pub fn offloads_off(&self) -> Result<(), LabError> {
        let argv = ["ip", "netns", "exec", &self.pod, "ethtool", "-K", &self.device];
        Cmd::new(argv).args(["tx", "off", "tso", "off", "gso", "off"]).check()?;
        Ok(())
    }

    fn ip(&self, args: &[&str]) -> Result<(), LabError> {
        let mut cmd = Cmd::new(["ip"]);
        if let Some(node) = &self.node {
            cmd = cmd.args(["-n", node]);
        }
        cmd.args(args.iter().copied()).check()?;
        Ok(())
    }
}

impl Drop for Veth {
    fn drop(&mut self) {
        // It may be gone with a namespace: that is as good.
        let _ = self.ip(&["link", "del", "dev", &self.host]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Ping, require};

    #[test]
    fn names_fit() {
        assert!(unique_name().len() <= 15);
        assert_ne!(unique_name(), unique_name());
    }

    #[test]
    fn two_pods_on_one_pair_reach_each_other_over_v4_and_v6() {
        require!(root());
        let (a, b) = (Netns::new().unwrap(), Netns::new().unwrap());
        let inside = Interface { addrs: &["10.0.0.1/24", "fd00::1/64"], mtu: 9000, ..Default::default() };
        let veth = Veth::pair("peer0", Some(&b), &a, &inside).unwrap();
        Interface { name: "peer0", addrs: &["10.0.0.2/24", "fd00::2/64"], mtu: 9000, ..Default::default() }
            .configure(&b)
            .unwrap();
        for to in ["10.0.0.2", "fd00::2"] {
            let ping = Ping { count: 3, ..Ping::to(to) }.run(&a).unwrap();
            assert_eq!(ping.received, 3, "{to}: {ping:?}");
        }
        let jumbo = Ping { size: 8000, whole: true, ..Ping::to("10.0.0.2") }.run(&a).unwrap();
        assert_eq!(jumbo.received, 1, "{jumbo:?}");
        veth.set_up(false).unwrap();
        let down = Ping { wait_ms: 50, ..Ping::to("10.0.0.2") }.run(&a).unwrap();
        assert_eq!(down.received, 0, "{down:?}");
    }

    #[test]
    fn offloads_are_on_until_they_are_switched_off() {
        require!(root(), tool("ethtool"));
        let (a, b) = (Netns::new().unwrap(), Netns::new().unwrap());
        let veth = Veth::pair("peer0", Some(&b), &a, &Interface::default()).unwrap();
        let shown = || a.exec(&["ethtool", "-k", "eth0"]).unwrap().stdout;
        assert!(shown().contains("tx-checksumming: on") && shown().contains("tcp-segmentation-offload: on"));
        veth.offloads_off().unwrap();
        assert!(
            shown().contains("tx-checksumming: off") && shown().contains("tcp-segmentation-offload: off")
        );
    }
}
