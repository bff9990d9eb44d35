//! Pods: namespaces whose interfaces are ports of one switch, or of one Linux bridge.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use shunt_tests::{Bridge, Interface, Netns, Ping, Veth, tap, veth};

/// How long a device may take to appear in a pod.
const APPEAR: Duration = Duration::from_secs(5);
/// Prefix length of all addresses.
const PREFIX: &str = "/24";

/// A node and the pods on it.
pub struct Pods {
    // Dropped in this order: devices before the namespaces they are in.
    veths: Vec<Veth>,
    /// The pods.
    pub pods: Vec<Netns>,
    /// Where the switch runs.
    pub node: Netns,
}

impl Pods {
    /// A node and `count` pods without interfaces.
    ///
    /// # Errors
    /// Not root.
    pub fn bare(count: usize) -> Result<Self> {
        let pods = (0..count).map(|_| quiet()).collect::<Result<Vec<_>>>()?;
        let node = quiet()?;
        Ok(Self { veths: Vec::new(), pods, node })
    }

    /// Pods at the end of veth pairs, configured.
    ///
    /// # Errors
    /// Not root, or no veth in the kernel.
    pub fn veth(count: usize) -> Result<Self> {
        let mut pods = Self::bare(count)?;
        for (index, pod) in pods.pods.iter().enumerate() {
            let address = address(index) + PREFIX;
            let inside = Interface { addrs: &[address.as_str()], ..Interface::default() };
            pods.veths.push(Veth::pair(&veth::unique_name(), Some(&pods.node), pod, &inside)?);
        }
        Ok(pods)
    }

    /// The host end of pod `index`.
    pub fn host(&self, index: usize) -> &str {
        self.veths[index].host_name()
    }

    /// Ports `pod0`, `pod1`, ... on the host ends, in a configuration.
    pub fn veth_ports(&self, network: &str) -> String {
        let port = |(index, veth): (usize, &Veth)| {
            let device = veth.host_name();
            format!(
                "[[port]]\nname = \"pod{index}\"\nnetwork = \"{network}\"\nkind = \"veth\"\ndevice = \"{device}\"\n"
            )
        };
        self.veths.iter().enumerate().map(port).collect()
    }

    /// The same on TAP devices that the switch makes inside the pods.
    pub fn tap_ports(&self, network: &str) -> String {
        let port = |(index, pod): (usize, &Netns)| {
            let netns = pod.name();
            format!(
                "[[port]]\nname = \"pod{index}\"\nnetwork = \"{network}\"\nkind = \"tap\"\ndevice = \"eth0\"\nnetns = \"{netns}\"\n"
            )
        };
        self.pods.iter().enumerate().map(port).collect()
    }

    /// Gives the TAP devices their addresses. The switch must run.
    ///
    /// # Errors
    /// A device does not appear.
    pub fn configure_taps(&self) -> Result<()> {
        for (index, pod) in self.pods.iter().enumerate() {
            let address = address(index) + PREFIX;
            let inside = Interface { addrs: &[address.as_str()], ..Interface::default() };
            tap::configure(pod, &inside, APPEAR)?;
        }
        Ok(())
    }

    /// Makes all host ends ports of a Linux bridge.
    ///
    /// # Errors
    /// The kernel has none.
    pub fn bridge(&self) -> Result<()> {
        let bridge = Bridge::new(&self.node)?;
        self.veths.iter().try_for_each(|veth| bridge.add(veth.host_name()))?;
        Ok(())
    }

    /// Makes every pod known to every table on the way, and proves that frames pass.
    ///
    /// # Errors
    /// A pod does not answer.
    pub fn meet(&self) -> Result<()> {
        for index in 1..self.pods.len() {
            let to = address(index);
            let ping = Ping { count: 3, ..Ping::to(&to) }.run(&self.pods[0])?;
            ensure!(ping.received > 0, "pod {index} does not answer the first one: {ping:?}");
        }
        Ok(())
    }

    /// Round trip of one echo request from the first pod to the second.
    ///
    /// # Errors
    /// No answer.
    pub fn round_trip(&self) -> Result<Duration> {
        let to = address(1);
        let answers = Ping::to(&to).run(&self.pods[0])?;
        answers.rtts.first().map(|(_, time)| *time).context("the second pod does not answer")
    }
}

/// A namespace without IPv6, whose own chatter would be traffic.
///
/// # Errors
/// Not root.
pub fn quiet() -> Result<Netns> {
    let netns = Netns::new()?;
    netns.exec(&[
        "sysctl",
        "-qw",
        "net.ipv6.conf.all.disable_ipv6=1",
        "net.ipv6.conf.default.disable_ipv6=1",
    ])?;
    Ok(netns)
}

/// Address of pod `index`.
pub fn address(index: usize) -> String {
    format!("10.77.0.{}", index + 1)
}
