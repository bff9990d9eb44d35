//! Short connections from a pod through a ClusterIP to another pod: one connection for each request, by shuntd's services, and
//! by the kernel's routing with destination NAT of nftables between the same namespaces.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use shunt_tests::{Interface, Netns, Ping, Running, Veth, shuntd};

use crate::contest::{Rival, hold};
use crate::cores;
use crate::figure::{Bar, Figure, Sample};
use crate::pair::Carrier;
use crate::plan::Plan;
use crate::pods::quiet;
use crate::switch::{Switch, one_worker};

/// The service.
const FRONT: &str = "10.96.0.10";
/// Where the server listens.
const BACKEND: &str = "10.77.2.1";
const BACKEND_PORT: &str = "8080";
/// Connections at a time.
const CLIENTS: &str = "8";
/// Longer than a client takes to start and to report.
const OVERHEAD: Duration = Duration::from_secs(15);
/// A client's ports are used again after a second, not after a minute, and there are more of them.
const CLIENT: [&str; 2] = ["net.ipv4.tcp_tw_reuse=1", "net.ipv4.ip_local_port_range=1024 65535"];
/// Answers that every table on the way needs.
const FIRST_PINGS: u32 = 3;

/// Connect, one byte, one byte, close: as netperf's TCP_CRR.
pub(super) fn crr(plan: &Plan) -> Result<Vec<Figure>> {
    let what =
        "TCP connect, request, response, close (8 at a time), pod -> ClusterIP -> pod of another subnet";
    measure(plan, "crr-clusterip", what, &|site| {
        let program = shuntd::binary("crr")?;
        let program = program.to_string_lossy();
        let (to, seconds) = (format!("{FRONT}:80"), plan.seconds.to_string());
        let argv = [&*program, "ask", &to, "--seconds", &seconds, "--clients", CLIENTS];
        let output = site.client.cmd(&argv).timeout(plan.window() + OVERHEAD).check()?;
        counted(&output.stdout).with_context(|| format!("crr said:\n{}", output.stdout))
    })
}

/// HTTP/1.0, one page for each connection.
pub(super) fn http(plan: &Plan) -> Result<Vec<Figure>> {
    let what = "HTTP without keep-alive (ab, 8 at a time), pod -> ClusterIP -> pod of another subnet";
    measure(plan, "http-clusterip", what, &|site| {
        let (url, seconds) = (format!("http://{FRONT}/"), plan.seconds.to_string());
        // The time last would set the count anew.
        let argv = ["ab", "-q", "-r", "-t", &seconds, "-n", "100000000", "-c", CLIENTS, "-s", "3", &url];
        let output = site.client.cmd(&argv).timeout(plan.window() + OVERHEAD).check()?;
        served(&output.stdout).with_context(|| format!("ab said:\n{}", output.stdout))
    })
}

fn measure(
    plan: &Plan,
    row: &str,
    what: &str,
    load: &dyn Fn(&Site) -> Result<Sample>,
) -> Result<Vec<Figure>> {
    let mut figure = Figure::new(row, what, "/s", Bar::Ratio(0.7));
    let run = |carrier| {
        let mut site = Site::new(carrier)?;
        let sample = load(&site)?;
        if let Some(switch) = &mut site.switch {
            eprintln!("bench: {row}: drops: {}", switch.drops()?);
        }
        Ok(sample)
    };
    let peer = Rival { name: "Linux routing + nftables DNAT + veth", run: &|| run(Carrier::Kernel) };
    hold(plan, &mut figure, &|| run(Carrier::Shunt), Some(peer), None)?;
    figure.notes.push(format!(
        "client and server on core {} in both; shuntd's worker, adaptive, on core {}; the kernel translates in its callers' context",
        cores::HOUSE,
        cores::SWITCH
    ));
    Ok(vec![figure])
}

/// Client, server, and who carries between them. Dropped in this order.
struct Site {
    _server: Running,
    switch: Option<Switch>,
    client: Netns,
    _backend: Netns,
    _node: Netns,
}

impl Site {
    fn new(carrier: Carrier) -> Result<Self> {
        let (node, client, backend) = (quiet()?, quiet()?, quiet()?);
        for (index, pod) in (1..).zip([&client, &backend]) {
            let address = format!("10.77.{index}.1/24");
            let inside = Interface { addrs: &[address.as_str()], ..Interface::default() };
            // It ends with the namespaces.
            std::mem::forget(Veth::pair(&device(index), Some(&node), pod, &inside)?);
            pod.exec(&["ip", "route", "add", "default", "via", &format!("10.77.{index}.254")])?;
        }
        for setting in CLIENT {
            client.exec(&["sysctl", "-qw", setting])?;
        }
        let switch = match carrier {
            Carrier::Shunt => Some(Switch::start(&node, &config())?),
            Carrier::Kernel => {
                by_kernel(&node)?;
                None
            }
        };
        let program = shuntd::binary("crr")?;
        let server =
            backend.spawn(&[&*program.to_string_lossy(), "serve", &format!("{BACKEND}:{BACKEND_PORT}")])?;
        server.expect("ready\n", 0, OVERHEAD)?;
        let mut site = Self { _server: server, switch, client, _backend: backend, _node: node };
        site.meet()?;
        Ok(site)
    }

    fn meet(&mut self) -> Result<()> {
        // The first ones may meet a port that is just being opened.
        for _ in 0..5 {
            let ping = Ping { count: FIRST_PINGS, ..Ping::to(BACKEND) }.run(&self.client)?;
            if ping.received == FIRST_PINGS {
                return Ok(());
            }
        }
        let drops = self.switch.as_mut().map(Switch::drops).transpose()?;
        ensure!(false, "the pods do not reach each other: {drops:?}");
        Ok(())
    }
}

fn device(index: usize) -> String {
    format!("pod{index}")
}

fn config() -> String {
    let mut text =
        one_worker("adaptive", "auto") + "[connections]\ncapacity = 1048576\n[[router]]\nname = \"r\"\n";
    for index in 1..=2 {
        let device = device(index);
        text += &format!(
            "[[network]]\nname = \"net{index}\"\nrouter = \"r\"\ngateways = [\"10.77.{index}.254/24\"]\n\
             [[port]]\nname = \"{device}\"\nnetwork = \"net{index}\"\nkind = \"veth\"\ndevice = \"{device}\"\n"
        );
    }
    text + &format!(
        "[[service]]\nname = \"bench/web\"\ncluster_ips = [\"{FRONT}\"]\nports = [{{ port = 80 }}]\n\
         endpoints = [{{ address = \"{BACKEND}\", port = {BACKEND_PORT} }}]\n"
    )
}

/// The same by the kernel: gateways on the host ends, and one rule as kube-proxy writes it (nftables mode).
fn by_kernel(node: &Netns) -> Result<()> {
    for index in 1..=2 {
        let (device, gateway) = (device(index), format!("10.77.{index}.254/24"));
        Interface { name: &device, addrs: &[gateway.as_str()], ..Interface::default() }.configure(node)?;
    }
    node.exec(&["sysctl", "-qw", "net.ipv4.ip_forward=1"])?;
    node.exec(&["nft", "add table ip nat"])?;
    node.exec(&["nft", "add chain ip nat pre { type nat hook prerouting priority dstnat; }"])?;
    let rule = format!("add rule ip nat pre ip daddr {FRONT} tcp dport 80 dnat to {BACKEND}:{BACKEND_PORT}");
    node.exec(&["nft", &rule])?;
    Ok(())
}

/// Reads `transactions N failed N seconds N`.
fn counted(text: &str) -> Result<Sample> {
    let words: Vec<&str> = text.split_whitespace().collect();
    let after = |key: &str| -> Result<f64> {
        let at = words.iter().position(|word| *word == key).with_context(|| format!("no {key} in it"))?;
        Ok(words.get(at + 1).context("no number")?.parse()?)
    };
    let (done, failed, seconds) = (after("transactions")?, after("failed")?, after("seconds")?);
    ensure!(done > 0.0, "nothing was answered");
    Ok(Sample::new(done / seconds, vec![("failed", failed)]))
}

/// Reads ab's report.
fn served(text: &str) -> Result<Sample> {
    let after = |key: &str| -> Result<f64> {
        let line = text.lines().find_map(|line| line.strip_prefix(key));
        let line = line.with_context(|| format!("no {key:?} in it"))?;
        Ok(line.split_whitespace().next().context("no number")?.parse()?)
    };
    let (rate, done) = (after("Requests per second:")?, after("Complete requests:")?);
    ensure!(done > 0.0, "nothing was answered");
    Ok(Sample::new(rate, vec![("failed", after("Failed requests:")?)]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reports_are_read() {
        let sample = counted("transactions 300 failed 2 seconds 1.500\n").unwrap();
        assert_eq!((sample.value, sample.beside), (200.0, vec![("failed", 2.0)]));
        assert!(counted("transactions 0 failed 2 seconds 1.5").is_err());
        let ab = "Complete requests:      51234\nFailed requests:        3\nRequests per second:    10246.80 [#/sec] (mean)\n";
        let sample = served(ab).unwrap();
        assert_eq!((sample.value, sample.beside), (10_246.8, vec![("failed", 3.0)]));
        assert!(served("").is_err());
    }
}
