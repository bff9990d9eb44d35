//! Routers of small configurations and of large ones, and what a change makes anew.

use super::*;

const TEXT: &str = r#"
        [[router]]
        name = "r"
        routes = [{ to = "10.9.0.0/16", via = "10.0.2.7" }, { to = "192.168.0.0/16", blackhole = true }]
        [[router]]
        name = "apart"
        [[network]]
        name = "alone"
        [[network]]
        name = "left"
        router = "r"
        gateways = ["10.0.1.1/24", "fd00:1::1/64"]
        [[network]]
        name = "right"
        router = "r"
        gateways = ["10.0.2.1/24"]
        [[network]]
        name = "elsewhere"
        router = "apart"
        gateways = ["10.0.1.1/24"]
    "#;

fn config(text: &str) -> Config {
    shunt_config::parse(text, "test").unwrap_or_else(|errors| panic!("{errors}"))
}

#[test]
fn each_router_has_its_own_networks_and_routes() {
    let routers = routers(&config(TEXT), None);
    let get = |router: usize, to: &str| routers[router].fib.get(to.parse().unwrap());
    assert_eq!(get(0, "10.0.1.200"), Some(Route::Connected(NetworkId(1))));
    assert_eq!(get(0, "fd00:1::200"), Some(Route::Connected(NetworkId(1))));
    assert_eq!(get(0, "10.0.2.1"), Some(Route::Connected(NetworkId(2))));
    assert_eq!(get(0, "10.9.8.7"), Some(Route::Via(NetworkId(2), "10.0.2.7".parse().unwrap())));
    assert_eq!(get(0, "192.168.1.1"), Some(Route::Blackhole));
    assert_eq!(get(0, "10.0.3.1"), None);
    assert_eq!(get(1, "10.0.1.200"), Some(Route::Connected(NetworkId(3))));
    assert_eq!(get(1, "10.0.2.1"), None);
}

/// The routers of `new` after those of `old`, held against making them of nothing; which tables stayed.
fn step(old: &str, new: &str) -> Vec<bool> {
    let (old, new) = (config(old), config(new));
    let before = routers(&old, None);
    let after = routers(&new, Some(&Before { config: &old, routers: &before }));
    for (made, fresh) in after.iter().zip(routers(&new, None)) {
        assert_eq!(made.fib.iter().collect::<Vec<_>>(), fresh.fib.iter().collect::<Vec<_>>());
    }
    after.iter().zip(&before).map(|(new, old)| Arc::ptr_eq(&new.fib, &old.fib)).collect()
}

#[test]
fn only_tables_whose_rows_changed_are_made_anew() {
    assert_eq!(step(TEXT, TEXT), [true, true]);
    let more = TEXT.replace("routes = [", "routes = [{ to = \"::/0\", via = \"fd00:1::7\" }, ");
    assert_eq!(step(TEXT, &more), [false, true]);
    assert_eq!(step(&more, TEXT), [false, true]);
    // Without the first network the others have other numbers.
    let fewer = TEXT.replace("[[network]]\n        name = \"alone\"\n", "");
    assert_eq!(step(TEXT, &fewer), [false, false]);
    // Another key of a network is none that routes rest on.
    let key = TEXT.replace("name = \"alone\"", "name = \"alone\"\n        mac_limit = 7");
    assert_eq!(step(TEXT, &key), [true, true]);
    let subnet = TEXT.replace("10.0.2.1/24", "10.0.2.1/25");
    assert_eq!(step(TEXT, &subnet), [false, true]);
}

#[test]
fn routes_that_come_go_move_and_change_are_found() {
    let route =
        |number: u32| format!("{{ to = \"10.9.{number}.0/24\", via = \"10.0.2.{}\" }}", number % 200 + 2);
    let text = |routes: &[String]| TEXT.replace("routes = [", &format!("routes = [{}, ", routes.join(", ")));
    let all: Vec<String> = (0..200).map(route).collect();
    let (mut moved, mut other) = (all.clone(), all.clone());
    moved.swap(3, 70);
    other[100] = "{ to = \"10.9.100.0/24\", blackhole = true }".into();
    let lists: [&[String]; 6] = [&all, &all[1..], &all[..150], &all[99..101], &moved, &other];
    for old in lists {
        for new in lists {
            let same =
                routers(&config(&text(old)), None)[0]
                    .fib
                    .iter()
                    .eq(routers(&config(&text(new)), None)[0].fib.iter());
            let kept = step(&text(old), &text(new));
            // A route that only moved in the list changes nothing that counts; then a new table is no mistake.
            assert!(kept[1] && (kept[0] == same || same), "{} to {}", old.len(), new.len());
        }
    }
}

fn blackhole(number: u32) -> StaticRoute {
    let to = IpNet::new_assert(std::net::Ipv4Addr::from_bits(20 << 24 | number << 8).into(), 24);
    StaticRoute { to, via: None, blackhole: true }
}

fn via(number: u32, hop: u8) -> StaticRoute {
    StaticRoute { via: Some(IpAddr::from([10, 0, 2, hop])), blackhole: false, ..blackhole(number) }
}

#[test]
fn routes_far_apart_are_found_without_those_between() {
    let old: Routes = (0..1000).map(blackhole).collect();
    let mut new = old.clone();
    assert_eq!(differing(&old, &new), Some(vec![]));
    new[7] = via(7, 7);
    new[900] = via(900, 7);
    new.remove(500);
    new.insert(100, blackhole(5000));
    let mut named = differing(&old, &new).unwrap();
    named.sort_unstable();
    named.dedup();
    assert_eq!(named, [7, 500, 900, 5000].map(|number| blackhole(number).to));
    let others: Routes = (2000..3000).map(blackhole).collect();
    assert_eq!(differing(&old, &others), None, "all of them");
}

proptest::proptest! {
    /// Lists made of few prefixes, so that many are there twice: of a prefix that is not named, both have the same.
    #[test]
    fn of_prefixes_that_are_not_named_both_lists_have_the_same(
        old in proptest::collection::vec((0u32..12, 1u8..3), 0..40),
        edits in proptest::collection::vec((0usize..40, 0u32..12, 1u8..3, 0u8..3), 0..8),
    ) {
        let old: Vec<_> = old.into_iter().map(|(number, hop)| via(number, hop)).collect();
        let mut new = old.clone();
        for (at, number, hop, how) in edits {
            match how {
                0 => new.insert(at.min(new.len()), via(number, hop)),
                1 if at < new.len() => drop(new.remove(at)),
                _ if at < new.len() => new[at] = via(number, hop),
                _ => {}
            }
        }
        let named = differing(&old.iter().copied().collect(), &new.iter().copied().collect());
        let named = named.expect("few edits");
        for number in 0..12 {
            let to = blackhole(number).to;
            let of = |list: &[StaticRoute]| list.iter().filter(|it| it.to == to).copied().collect::<Vec<_>>();
            proptest::prop_assert!(named.contains(&to) || of(&old) == of(&new), "{to}");
        }
    }
}

#[test]
fn one_route_among_many_is_no_reason_to_make_all_anew() {
    use std::time::{Duration, Instant};
    let mut old = config(TEXT);
    let route = |number: u32| StaticRoute {
        to: IpNet::new_assert(std::net::Ipv4Addr::from_bits(20 << 24 | number << 8).into(), 24),
        via: Some("10.0.2.7".parse().unwrap()),
        blackhole: false,
    };
    old.routers[0].routes = (0..50_000).map(route).collect();
    let mut new = old.clone();
    new.routers[0].routes.insert(20_000, route(60_000));
    let time = |work: &dyn Fn() -> Vec<PlannedRouter>| {
        let one = || {
            let started = Instant::now();
            // The new one and three subnets beside.
            assert_eq!(work()[0].fib.len(), 50_004);
            started.elapsed()
        };
        (0..5).map(|_| one()).min().unwrap_or(Duration::MAX)
    };
    let before = routers(&old, None);
    let before = Before { config: &old, routers: &before };
    let (some, all) = (time(&|| routers(&new, Some(&before))), time(&|| routers(&new, None)));
    assert!(some * 4 < all, "{some:?} for one route, {all:?} for all");
}

#[test]
fn a_pod_is_routed_to_whether_its_port_names_the_underlay_or_the_vlan() {
    let text = |port: &str| {
        format!(
            "[[router]]\nname = \"r\"\nroutes = [{{ to = \"0.0.0.0/0\", via = \"10.0.1.254\" }}]\n\
             [[network]]\nname = \"br\"\nvlans = [7, 8]\n\
             [[network]]\nname = \"pods\"\nkind = \"underlay\"\nbridge = \"br\"\nvlan = 7\nmode = \"routed\"\n\
             router = \"r\"\ngateways = [\"10.0.1.1/24\"]\n\
             [[port]]\nname = \"p\"\nkind = \"tap\"\n{port}\n\
             endpoints = [{{ mac = \"02:00:00:00:00:09\", ip = [\"10.0.1.9\"] }}]\n"
        )
    };
    let pod = "10.0.1.9".parse().unwrap();
    let route = |port: &str| routers(&config(&text(port)), None)[0].fib.get(pod);
    let direct = Some(Route::Connected(NetworkId(1)));
    for port in
        ["network = \"pods\"", "network = \"br\"\nvlan = 7", "network = \"br\"\ntrunk = [8]\nnative_vlan = 7"]
    {
        assert_eq!(route(port), direct, "{port}");
    }
    let gateway = "10.0.1.254".parse().unwrap();
    assert_eq!(
        route("network = \"br\"\nvlan = 8"),
        Some(Route::Via(NetworkId(1), gateway)),
        "of another VLAN"
    );
    // A port that comes into the VLAN brings its route.
    let all = [text("network = \"br\"\nvlan = 8"), text("network = \"br\"\nvlan = 7")];
    assert_eq!(step(&all[0], &all[1]), [false]);
}

#[test]
fn a_gateway_has_its_addresses_and_its_router() {
    let config = config(TEXT);
    let right = gateway(&config, &config.networks[2]).unwrap();
    assert_eq!(right.router, RouterId(0));
    assert_eq!(&*right.addresses, [("10.0.2.1".parse().unwrap(), 24)]);
    assert_eq!(gateway(&config, &config.networks[3]).unwrap().router, RouterId(1));
    assert_eq!(gateway(&config, &config.networks[0]), None);
}
