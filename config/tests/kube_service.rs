//! Kubernetes Services and EndpointSlices as changes of a running configuration. After a wanted change of the messages, write
//! the file anew with `SHUNT_BLESS=1 cargo test -p shunt-config --test kube_service`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use shunt_config::{Affinity, Config, Merged, Service, ServiceProtocol, TrafficPolicy, merge, parse};

fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/kube").join(name)
}

fn text(name: &str) -> String {
    std::fs::read_to_string(path(name)).unwrap()
}

fn node() -> Config {
    let text = r#"
        [node]
        name = "node-a"
        [[router]]
        name = "r"
        external_ips = ["203.0.113.0/28"]
        [[network]]
        name = "pods"
        router = "r"
        gateways = ["10.16.0.1/16", "fd00:16::1/64"]
        [[network]]
        name = "outside"
        router = "r"
        gateways = ["192.168.50.2/24"]
    "#;
    parse(text, "node").unwrap_or_else(|errors| panic!("{errors}"))
}

fn merged(config: &Config, yaml: &str) -> Merged {
    merge(config, yaml, "f.yaml").unwrap_or_else(|errors| panic!("{errors}"))
}

fn service<'c>(config: &'c Config, name: &str) -> &'c Service {
    config.service(name).unwrap_or_else(|| panic!("there is no {name}"))
}

fn slice(name: &str, endpoints: &str) -> String {
    format!(
        "apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: {{ name: {name}, namespace: shop, labels: {{ kubernetes.io/service-name: web }} }}\naddressType: IPv4\nports: [{{ name: http, port: 8080 }}]\nendpoints: [{endpoints}]\n"
    )
}

fn addresses(service: &Service) -> Vec<String> {
    service.endpoints.iter().map(|endpoint| endpoint.address.to_string()).collect()
}

#[test]
fn a_service_and_its_slices_are_a_service_with_endpoints() {
    let Merged { config, notes, .. } = merged(&node(), &text("../../examples/kube-service.yaml"));
    let web = service(&config, "shop/web");
    let ips = |list: &[std::net::IpAddr]| list.iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(ips(&web.cluster_ips), ["10.96.0.10", "fd00:96::10"]);
    assert_eq!(ips(&web.load_balancer_ips), ["192.168.50.100"], "what a proxy is to see is not taken over");
    assert_eq!(ips(&web.external_ips), ["203.0.113.7"]);
    assert_eq!((web.affinity, web.affinity_timeout), (Affinity::ClientIp, Duration::from_secs(600)));
    assert_eq!(web.external_traffic_policy, TrafficPolicy::Local);
    assert_eq!(web.source_ranges, ["192.168.50.0/24".parse().unwrap()]);
    let ports: Vec<_> =
        web.ports.iter().map(|port| (port.name.as_str(), port.protocol, port.port, port.node_port)).collect();
    assert_eq!(
        ports,
        [("http", ServiceProtocol::Tcp, 80, Some(30080)), ("stats", ServiceProtocol::Udp, 8125, None)]
    );
    assert_eq!(addresses(web), ["10.16.0.11", "10.16.0.12", "fd00:16::b"]);
    let [first, second, third] = &web.endpoints[..] else { panic!() };
    assert_eq!((first.target(&web.ports[0]), first.target(&web.ports[1])), (Some(8080), Some(9125)));
    assert_eq!((first.node.as_deref(), first.zones.as_slice()), (Some("node-a"), &["zone-1".to_owned()][..]));
    assert_eq!((second.ready, second.serving, second.terminating), (false, true, true));
    assert_eq!(
        (third.target(&web.ports[0]), third.target(&web.ports[1]), third.ready),
        (Some(8080), None, true)
    );
    assert!(config.service("shop/db").is_none(), "headless: nobody sends to it");
    assert_eq!(
        notes,
        [
            "document 1 (Service web): spec.healthCheckNodePort: nobody answers there; let the load balancer ask the backends",
            "document 4 (Service db): spec.clusterIP: headless: clients find the endpoints by DNS",
        ]
    );
    assert_eq!(config.answers_for(web, web.load_balancer_ips[0]).unwrap().name.as_str(), "outside");
    // Twice is once, and what was written out reads the same.
    assert_eq!(merged(&config, &text("../../examples/kube-service.yaml")).config, config);
    assert_eq!(parse(&config.to_toml(), "again").unwrap(), config);
}

#[test]
fn a_slice_replaces_what_it_said_before_and_nothing_else() {
    let config = merged(&node(), &text("../../examples/kube-service.yaml")).config;
    let changed =
        merged(&config, &slice("web-abc", "{ addresses: [10.16.0.12] }, { addresses: [10.16.0.14] }"));
    assert_eq!(addresses(service(&changed.config, "shop/web")), ["fd00:16::b", "10.16.0.12", "10.16.0.14"]);
    // Those that did not change are the very same ones.
    let gone = merged(&changed.config, &slice("web-abc", ""));
    assert_eq!(addresses(service(&gone.config, "shop/web")), ["fd00:16::b"]);
    // While a pod is in two slices, it is ready when one of them says so.
    let both = [
        slice("one", "{ addresses: [10.16.0.20], conditions: { ready: false } }"),
        slice("two", "{ addresses: [10.16.0.20], conditions: { ready: true } }"),
        slice("three", "{ addresses: [10.16.0.20], conditions: { ready: false } }"),
    ];
    let both = merged(&config, &both.join("---\n"));
    let known: Vec<_> = service(&both.config, "shop/web").endpoints.iter().filter(|it| it.ready).collect();
    assert_eq!(known.iter().filter(|it| it.address.to_string() == "10.16.0.20").count(), 1);
}

#[test]
fn only_the_service_of_a_slice_is_made_anew() {
    let two = format!(
        "{}---\napiVersion: v1\nkind: Service\nmetadata: {{ name: other }}\nspec: {{ clusterIP: 10.96.0.9, ports: [{{ port: 1 }}] }}\n",
        text("../../examples/kube-service.yaml")
    );
    let config = merged(&node(), &two).config;
    let changed = merged(&config, &slice("web-abc", "{ addresses: [10.16.0.12] }")).config;
    let shared =
        |name: &str| std::sync::Arc::ptr_eq(config.service(name).unwrap(), changed.service(name).unwrap());
    assert!(shared("default/other") && !shared("shop/web"));
}

#[test]
fn a_slice_of_nobody_and_an_address_of_another_are_told_at_the_object() {
    let wrong = |yaml: &str| merge(&node(), yaml, "f.yaml").unwrap_err().to_string();
    assert_eq!(
        wrong(&slice("web-abc", "{ addresses: [10.16.0.12] }")),
        "f.yaml:1:1: document 1: metadata.labels: of service shop/web, which is not there; apply that first, or in the same file"
    );
    let inside = "apiVersion: v1\nkind: Service\nmetadata: { name: a }\nspec: { clusterIP: 10.16.0.9, ports: [{ port: 1 }] }\n";
    let message = wrong(inside);
    assert!(
        message
            .starts_with("f.yaml:1:1: document 1: as a service, cluster_ips[0]: 10.16.0.9 is in the subnet"),
        "{message}"
    );
}

#[test]
fn every_mistake_has_its_document_and_field() {
    let errors = merge(&node(), &text("service-mistakes.yaml"), "service-mistakes.yaml").unwrap_err();
    let (found, expected) = (format!("{errors}\n"), path("service-mistakes.txt"));
    if std::env::var_os("SHUNT_BLESS").is_some() {
        std::fs::write(&expected, &found).unwrap();
    }
    assert_eq!(found, std::fs::read_to_string(expected).unwrap());
}
