//! What is kept, against a map that is never written anywhere; and what becomes of it on top of another file.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

const FILE: &str = r#"
    [[router]]
    name = "r"
    [[network]]
    name = "n"
    router = "r"
    gateways = ["10.0.1.1/24"]
"#;

fn file(more: &str) -> Config {
    shunt_config::parse(&format!("{FILE}{more}"), "file").unwrap_or_else(|errors| panic!("{errors}"))
}

fn service(name: &str, address: &str) -> String {
    format!(
        "---\napiVersion: v1\nkind: Service\nmetadata: {{ name: {name}, namespace: shop }}\n\
         spec: {{ clusterIP: {address}, ports: [{{ port: 80 }}] }}\n"
    )
}

fn slice(name: &str, service: &str, address: &str) -> String {
    format!(
        "---\napiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\n\
         metadata: {{ name: {name}, namespace: shop, labels: {{ kubernetes.io/service-name: {service} }} }}\n\
         addressType: IPv4\nports: [{{ port: 8080 }}]\nendpoints: [{{ addresses: [{address}] }}]\n"
    )
}

/// Applies objects as the control thread does, without a switch.
fn apply(kept: &mut Kept, running: &Config, yaml: &str) -> Config {
    let merged = shunt_config::merge(running, yaml, "f").unwrap_or_else(|errors| panic!("{errors}"));
    let pending = kept.write(merged.objects).unwrap();
    kept.settle(pending).unwrap();
    merged.config
}

fn delete(kept: &mut Kept, running: &Config, yaml: &str) -> Config {
    let left = shunt_config::remove(running, yaml, "f", false, |name| kept.is_aside(name));
    let left = left.unwrap_or_else(|errors| panic!("{errors}"));
    let pending = kept.write(left.objects).unwrap();
    kept.settle(pending).unwrap();
    left.config
}

fn names(aside: &[Aside]) -> Vec<String> {
    aside.iter().map(|aside| aside.name.to_string()).collect()
}

#[test]
fn what_was_applied_is_there_again_and_what_was_deleted_is_not() {
    let dir = tempfile::tempdir().unwrap();
    let mut kept = Kept::open(dir.path()).unwrap();
    let port = file(
        "[[port]]\nname = \"p\"\nkind = \"memif\"\nnetwork = \"n\"\npath = \"/run/m\"\nsecret = \"x-y\"\n",
    )
    .ports[0]
        .clone();
    let mut running = apply(
        &mut kept,
        &file(""),
        &(service("web", "10.96.0.1") + &slice("a", "web", "10.0.1.7") + &slice("b", "web", "10.0.1.8")),
    );
    running = apply(&mut kept, &running, &(service("db", "10.96.0.2") + &slice("c", "db", "10.0.1.9")));
    running = apply(&mut kept, &running, &slice("a", "web", "10.0.1.17"));
    let pending = kept.write(vec![Control::kept_port(&port)]).unwrap();
    kept.settle(pending).unwrap();
    running.ports.push(port);
    // A Service takes its slices along.
    running = delete(&mut kept, &running, &service("db", "10.96.0.2"));
    assert_eq!(kept.len(), 4);
    drop(kept);
    let mut kept = Kept::open(dir.path()).unwrap();
    let (mut again, aside) = kept.over(&file(""));
    assert!(aside.is_empty(), "{aside:?}");
    let sort = |config: &mut Config| {
        for service in &mut config.services {
            std::sync::Arc::make_mut(service).endpoints.sort_by_key(|endpoint| endpoint.address);
        }
    };
    sort(&mut again);
    sort(&mut running);
    assert_eq!(again, running);
    // And so it is when the file was written anew.
    kept.shrink().unwrap();
    drop(kept);
    let (mut shrunk, _) = Kept::open(dir.path()).unwrap().over(&file(""));
    sort(&mut shrunk);
    assert_eq!(shrunk, running);
    // Whoever may read a secret is nobody but the daemon.
    use std::os::unix::fs::PermissionsExt;
    let mode = std::fs::metadata(dir.path().join("objects")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn what_does_not_fit_another_file_is_named_and_kept_for_the_next() {
    let dir = tempfile::tempdir().unwrap();
    let mut kept = Kept::open(dir.path()).unwrap();
    let port = "[[port]]\nname = \"p\"\nkind = \"tap\"\nnetwork = \"n\"\n";
    let all: String = (1..20).map(|last| service(&format!("s{last}"), &format!("10.96.0.{last}"))).collect();
    apply(&mut kept, &file(""), &(all + &slice("a", "s7", "10.0.1.7")));
    let pending = kept.write(vec![Control::kept_port(&file(port).ports[0])]).unwrap();
    kept.settle(pending).unwrap();
    // The file has an address of one of them now, and a port of that name, but another.
    let taken = "[[service]]\nname = \"other/one\"\nrouter = \"r\"\ncluster_ips = [\"10.96.0.7\"]\nports = [{ port = 80 }]\n";
    let other = port.replace("\"tap\"", "\"tap\"\nmtu = 1400");
    let (config, aside) = kept.over(&file(&format!("{other}{taken}")));
    assert_eq!(names(&aside), ["Service shop/s7", "EndpointSlice shop/a", "port p"]);
    assert!(aside[0].to_string().contains("10.96.0.7"), "{}", aside[0]);
    assert_eq!(config.services.len(), 19, "the file's and all others");
    // Without it all fit again; the same port in the file is no conflict.
    let (config, aside) = kept.over(&file(port));
    assert!(aside.is_empty(), "{aside:?}");
    assert_eq!((config.services.len(), config.ports.len()), (19, 1));
    // What is aside can be deleted, and what is not there cannot.
    let gone = |kind: &str, name: &str| ObjectName {
        kind: kind.to_owned(),
        namespace: String::new(),
        name: name.to_owned(),
    };
    assert!(!kept.is_aside(&gone("Namespace", "shop")));
    let (config, aside) = kept.over(&file(taken));
    kept.note_aside(&aside);
    assert!(kept.is_aside(&gone("Namespace", "shop")) && !kept.is_aside(&gone("Namespace", "x")));
    delete(&mut kept, &config, &service("s7", "10.96.0.7"));
    let (_, aside) = kept.over(&file(taken));
    assert_eq!(names(&aside), Vec::<String>::new());
}

#[test]
fn a_change_that_was_refused_is_not_kept() {
    let dir = tempfile::tempdir().unwrap();
    let mut kept = Kept::open(dir.path()).unwrap();
    let running = apply(&mut kept, &file(""), &service("web", "10.96.0.1"));
    let merged = shunt_config::merge(&running, &service("db", "10.96.0.2"), "f").unwrap();
    let pending = kept.write(merged.objects).unwrap();
    kept.take_back(&pending);
    let after = apply(&mut kept, &running, &service("api", "10.96.0.3"));
    drop(kept);
    let (again, _) = Kept::open(dir.path()).unwrap().over(&file(""));
    assert_eq!(again, after);
}

#[test]
fn a_pod_that_has_ended_and_a_service_that_is_nobodys_are_not_kept() {
    let dir = tempfile::tempdir().unwrap();
    let mut kept = Kept::open(dir.path()).unwrap();
    let pod = |phase: &str| {
        format!(
            "---\napiVersion: v1\nkind: Pod\nmetadata: {{ name: job, namespace: shop }}\n\
             status: {{ phase: {phase}, podIP: 10.0.1.5 }}\n"
        )
    };
    let both = pod("Running") + &service("web", "10.96.0.1") + &slice("a", "web", "10.0.1.7");
    let running = apply(&mut kept, &file(""), &both);
    assert_eq!(kept.len(), 3);
    let headless = service("web", "None") + &slice("a", "web", "10.0.1.7");
    let after = apply(&mut kept, &running, &(pod("Succeeded") + &headless));
    assert!(kept.is_empty(), "{:?}", kept.held);
    assert_eq!(after, file(""));
}

/// Where a name is, for the model.
type Model = BTreeMap<(String, String, String), (Option<String>, String)>;

fn change() -> impl Strategy<Value = ObjectChange> {
    let kind = prop::sample::select(vec!["Service", "EndpointSlice", "Pod", "Namespace", "port"]);
    (kind, 0u8..2, 0u8..3, 0u8..3, any::<bool>(), 1usize..40_000).prop_map(
        |(kind, namespace, name, owner, gone, length)| {
            let alone = matches!(kind, "Namespace" | "port");
            let namespace = if alone { String::new() } else { format!("ns{namespace}") };
            let prefix = if kind == "Namespace" { "ns" } else { "n" };
            let name = ObjectName { kind: kind.to_owned(), namespace, name: format!("{prefix}{name}") };
            let service = (kind == "EndpointSlice").then(|| format!("n{owner}"));
            match gone {
                true => ObjectChange::Gone(name),
                false => ObjectChange::Applied(AppliedObject { name, service, text: "x".repeat(length) }),
            }
        },
    )
}

fn model(model: &mut Model, change: &ObjectChange) {
    let key = |name: &ObjectName| (name.kind.clone(), name.namespace.clone(), name.name.clone());
    match change {
        ObjectChange::Applied(AppliedObject { name, service, text }) => {
            model.insert(key(name), (service.clone(), text.clone()));
        }
        ObjectChange::Gone(name) => {
            model.remove(&key(name));
            model.retain(|(_, namespace, _), (service, _)| {
                let within = name.kind == "Namespace" && *namespace == name.name;
                let of = name.kind == "Service"
                    && *namespace == name.namespace
                    && service.as_deref() == Some(&*name.name);
                !within && !of
            });
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Changes, some of which are taken back, with the directory opened anew in between, and the file written anew now and then.
    #[test]
    fn it_holds_what_a_map_holds(
        turns in prop::collection::vec((prop::collection::vec(change(), 1..6), 0u8..8), 1..60)
    ) {
        let dir = tempfile::tempdir().unwrap();
        let mut kept = Kept::open(dir.path()).unwrap();
        let mut wanted = Model::new();
        for (changes, then) in turns {
            let pending = kept.write(changes.clone()).unwrap();
            match then {
                0 => kept.take_back(&pending),
                _ => {
                    changes.iter().for_each(|change| model(&mut wanted, change));
                    kept.settle(pending).unwrap();
                }
            }
            match then {
                1 => {
                    drop(kept);
                    kept = Kept::open(dir.path()).unwrap();
                }
                2 => kept.shrink().unwrap(),
                _ => {}
            }
            let found: Model = kept.in_order().into_iter().map(|(name, held)| {
                let Ok(ObjectChange::Applied(object)) = parsed(&kept.journal.line(held.span).unwrap()) else {
                    panic!("{name} is not there")
                };
                let key = (name.kind.clone(), name.namespace.clone(), name.name.clone());
                (key, (object.service, object.text))
            }).collect();
            prop_assert_eq!(&found, &wanted);
            let live: u64 = kept.held.values().map(|held| u64::from(held.span.len)).sum();
            prop_assert_eq!(kept.live, live);
            prop_assert!(kept.journal.len() <= 2 * live + SLACK + 200_000);
        }
    }
}
