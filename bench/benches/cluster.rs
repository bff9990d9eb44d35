//! What one object of a large cluster costs, from its text until every worker goes by it: 10,000 services with 10 endpoints each, 10,000
//! pods, 1,000 policies: `cargo bench -p shunt-bench --bench cluster`. Once without and once with a directory in which it is kept.
//!
//! The bars are those of issue 5: all of it in 300 ms at most, one endpoint in 5 ms.

use std::fmt::Write;
use std::net::Ipv4Addr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use shunt_config::{Config, RouterName, Service, ServiceEndpoint, ServiceName, ServicePort, ServiceProtocol};
use shunt_ffi::alloc_count::{CountingAllocator, balance};
use shunt_switch::control::Control;
use shunt_switch::control::kept::Kept;

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

const SERVICES: u32 = 10_000;
const ENDPOINTS: u32 = 10;
const PODS: u32 = 10_000;
const POLICIES: u32 = 1_000;
const NAMESPACES: u32 = 50;
/// Changes of each sort.
const TIMES: u32 = 60;

const NODE: &str = "[memory]\nhugepages = \"never\"\nmbufs = 4096\n[workers]\npoll = \"adaptive\"\n[flow_cache]\nentries = 1024\n\
    [[router]]\nname = \"r\"\n[[network]]\nname = \"pods\"\nrouter = \"r\"\ngateways = [\"10.16.0.1/16\"]\n";

fn service(number: u32) -> Arc<Service> {
    let name = format!("ns-{}/s{number}", number % NAMESPACES);
    let endpoints = (0..ENDPOINTS).map(|last| ServiceEndpoint {
        port: Some(8080),
        slice: Some("x".to_owned()),
        ..ServiceEndpoint::new(Ipv4Addr::from_bits(0x0a80_0000 + number * ENDPOINTS + last).into())
    });
    let port = ServicePort { name: String::new(), protocol: ServiceProtocol::Tcp, port: 80, node_port: None };
    Arc::new(Service {
        cluster_ips: vec![Ipv4Addr::from_bits(0x0a60_0000 + number).into()],
        ports: vec![port],
        endpoints: endpoints.collect(),
        ..Service::new(ServiceName::new(&name).expect("a name"), RouterName::new("r").expect("a name"))
    })
}

/// Each policy isolates an application of a namespace from all but two others.
fn cluster() -> String {
    let mut text = NODE.to_owned();
    for n in 0..NAMESPACES {
        write!(text, "[[namespace]]\nname = \"ns-{n}\"\nlabels = {{ team = \"app-{n}\" }}\n")
            .expect("memory");
    }
    for n in 0..PODS {
        let (namespace, app) = (n % NAMESPACES, n / NAMESPACES);
        let address = Ipv4Addr::from_bits(0x0a10_0100 + n);
        write!(
            text,
            "[[pod]]\nnamespace = \"ns-{namespace}\"\nname = \"pod-{n}\"\naddresses = [\"{address}\"]\n\
             labels = {{ app = \"app-{app}\", pod-template-hash = \"{n:x}\", version = \"v1\" }}\n"
        )
        .expect("memory");
    }
    for n in 0..POLICIES {
        let (namespace, app) = (n % NAMESPACES, n / NAMESPACES);
        let chosen =
            |number: u32| format!("pod_selector = {{ match_labels = {{ app = \"app-{number}\" }} }}");
        write!(
            text,
            "[[policy]]\nnamespace = \"ns-{namespace}\"\nname = \"policy-{n}\"\n{}\ningress = [{{ ports = [{{ port = 80 }}], \
             from = [{{ {} }}, {{ namespace_selector = {{ match_labels = {{ team = \"app-{}\" }} }}, {} }}] }}]\n",
            chosen(app),
            chosen(app + 1),
            n % NAMESPACES,
            chosen(app + 2)
        )
        .expect("memory");
    }
    text
}

fn slice(turn: u32) -> String {
    format!(
        "apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\n\
         metadata: {{ name: x, namespace: ns-0, labels: {{ kubernetes.io/service-name: s700 }} }}\n\
         addressType: IPv4\nports: [{{ port: 8080 }}]\nendpoints: [{{ addresses: [10.200.0.{turn}] }}]\n"
    )
}

fn pod(turn: u32) -> String {
    format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{ name: pod-5000, namespace: ns-0, labels: {{ app: app-{turn} }} }}\n\
         status: {{ podIP: {} }}\n",
        Ipv4Addr::from_bits(0x0a10_0100 + 5_000)
    )
}

fn policy(turn: u32) -> String {
    format!(
        "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {{ name: policy-500, namespace: ns-0 }}\n\
         spec: {{ podSelector: {{ matchLabels: {{ app: app-10 }} }}, ingress: [{{ ports: [{{ port: {turn} }}] }}] }}\n"
    )
}

fn namespace(turn: u32) -> String {
    format!("apiVersion: v1\nkind: Namespace\nmetadata: {{ name: ns-7, labels: {{ team: app-{turn} }} }}\n")
}

/// Memory of this process, KiB.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("proc");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("VmRSS");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}

/// Median, the slowest but one in twenty, and the slowest.
fn figures(mut times: Vec<Duration>) -> String {
    times.sort_unstable();
    let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize];
    format!("median {:.2?}, 95 % {:.2?}, worst {:.2?}", at(0.5), at(0.95), at(1.0))
}

fn changes(control: &mut Control, kept: &str) {
    let mut measure = |what: &str, text: fn(u32) -> String| {
        let times = (1..=TIMES).map(|turn| {
            let text = text(turn);
            let begin = Instant::now();
            control.apply_objects(&text, "bench").expect("it is applied");
            begin.elapsed()
        });
        println!("one {what}, {kept}: {}", figures(times.collect()));
    };
    measure("EndpointSlice", slice);
    measure("Pod", pod);
    measure("NetworkPolicy", policy);
    measure("Namespace label", namespace);
}

fn keep(control: &mut Control, dir: &Path) {
    control.keep(Kept::open(dir).expect("a directory"));
}

fn main() {
    let node = shunt_config::parse(NODE, "node").expect("a good configuration");
    let before = balance();
    let whole = shunt_config::parse(&cluster(), "cluster").expect("a good configuration");
    println!("{PODS} pods and {POLICIES} policies as configuration: {} KiB", (balance() - before) / 1024);
    let policed = Config { services: vec![service(0)], ..whole.clone() };
    let whole = Config { services: (0..SERVICES).map(service).collect(), ..whole };
    let mut control = Control::start(&node).expect("it starts without privileges");
    assert!(control.apply_at_start(&node).is_empty());
    // What the table of connections takes, which comes with the first service, is not the cluster's.
    let one = Config { services: vec![service(0)], ..node.clone() };
    control.apply(&one).expect("it is applied");
    let (before, rss) = (balance(), resident());
    control.apply(&policed).expect("it is applied");
    println!(
        "what the switch makes of them (sets, identities, the table of addresses): {} KiB, resident {} KiB more",
        (balance() - before) / 1024,
        resident().saturating_sub(rss)
    );
    control.apply(&one).expect("it is applied");
    let before = resident();
    let mut times = Vec::new();
    for turn in 0..5 {
        let begin = Instant::now();
        control.apply(&whole).expect("it is applied");
        times.push(begin.elapsed());
        if turn == 0 {
            println!(
                "memory of all of it, beside the configuration itself: {} KiB",
                resident().saturating_sub(before)
            );
        }
        control.apply(&one).expect("it is applied");
    }
    println!("all of it: {}", figures(times));
    control.apply(&whole).expect("it is applied");
    changes(&mut control, "not kept");
    let dir = tempfile::tempdir().expect("a directory");
    keep(&mut control, dir.path());
    changes(&mut control, "kept");
    // As many objects as the cluster has, each kept: what that takes in memory and how long it takes to put them on top of a file.
    let mut text = String::new();
    for number in 0..SERVICES {
        let address = Ipv4Addr::from_bits(0x0a70_0000 + number);
        let (service, namespace) = (format!("k{number}"), number % NAMESPACES);
        write!(
            text,
            "---\napiVersion: v1\nkind: Service\nmetadata: {{ name: {service}, namespace: ns-{namespace} }}\n\
             spec: {{ clusterIP: {address}, ports: [{{ port: 80 }}] }}\n"
        )
        .expect("memory");
    }
    let dir = tempfile::tempdir().expect("a directory");
    keep(&mut control, dir.path());
    control.apply(&one).expect("it is applied");
    let begin = Instant::now();
    control.apply_objects(&text, "bench").expect("it is applied");
    println!("{SERVICES} Services by one file, kept: {:.2?}", begin.elapsed());
    control.spawn().expect("a thread").stop();
    let before = resident();
    let begin = Instant::now();
    let mut kept = Kept::open(dir.path()).expect("a directory");
    println!(
        "{} objects opened: {:.2?}, {} KiB",
        kept.len(),
        begin.elapsed(),
        resident().saturating_sub(before)
    );
    let begin = Instant::now();
    let (config, aside) = kept.over(&node);
    kept.note_aside(&aside);
    println!(
        "put on top of the file: {:.2?}, {} services, {} aside",
        begin.elapsed(),
        config.services.len(),
        aside.len()
    );
}
