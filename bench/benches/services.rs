//! What services cost the control thread and a new connection: 10,000 services with 10 endpoints each, built anew, with one
//! endpoint changed, and looked up: `cargo bench -p shunt-bench --bench services`.
//!
//! The bars are those of issue 5: a full build of 300 ms at most (with policies), one change of 5 ms at most.

#![expect(missing_docs, reason = "criterion's macro makes a public function")]

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use shunt_config::{RouterName, Service, ServiceEndpoint, ServiceName, ServicePort, ServiceProtocol};
use shunt_switch::table::service::{Found, Pick, Scope, Services, Site};

const SERVICES: u32 = 10_000;
const ENDPOINTS: u32 = 10;
const TCP: u8 = 6;

fn cluster_ip(number: u32) -> IpAddr {
    Ipv4Addr::from_bits(0x0a60_0000 + number).into()
}

fn service(number: u32) -> Arc<Service> {
    let name = ServiceName::new(&format!("ns-{}/service-{number}", number % 100)).unwrap();
    let endpoints = (0..ENDPOINTS).map(|last| ServiceEndpoint {
        port: Some(8080),
        node: Some(format!("node-{}", last % 7)),
        ..ServiceEndpoint::new(Ipv4Addr::from_bits(0x0a80_0000 + number * ENDPOINTS + last).into())
    });
    Arc::new(Service {
        cluster_ips: vec![cluster_ip(number)],
        ports: vec![ServicePort {
            name: String::new(),
            protocol: ServiceProtocol::Tcp,
            port: 80,
            node_port: None,
        }],
        endpoints: endpoints.collect(),
        ..Service::new(name, RouterName::new("r").unwrap())
    })
}

fn services(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("services");
    group.sample_size(10);
    let all: Vec<_> = (0..SERVICES).map(service).collect();
    let site = Site { node: Some("node-3".to_owned()), ..Site::default() };
    group.bench_function("10,000 x 10 build", |bencher| {
        bencher.iter(|| Services::build(&all, &[], &site, None));
    });
    let before = Services::build(&all, &[], &site, None);
    let mut number = 0;
    group.bench_function("one endpoint less", |bencher| {
        bencher.iter_batched(
            || {
                let mut changed = all.clone();
                number = (number + 1) % changed.len();
                Arc::make_mut(&mut changed[number]).endpoints.pop();
                changed
            },
            |changed| Services::build(&changed, &[], &site, Some(&before)),
            BatchSize::LargeInput,
        );
    });
    let mut flow = 0_u32;
    group.bench_function("lookup and pick", |bencher| {
        bencher.iter(|| {
            flow = flow.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let Found::Front(front) = before.get(cluster_ip(flow % SERVICES), TCP, 80) else {
                panic!("every service is there")
            };
            let hash = u64::from(flow) << 32;
            match front.port.backends(cluster_ip(0)).pick(Scope::Cluster, hash, None) {
                Pick::Backend(backend) => black_box(backend),
                nobody => panic!("{nobody:?}"),
            }
        });
    });
    group.finish();
}

criterion_group!(benches, services);
criterion_main!(benches);
