//! The trie against a list that is searched from end to end.

use std::net::{Ipv4Addr, Ipv6Addr};

use proptest::prelude::*;

use super::*;

/// The longest row that contains `address`; of equal ones the first.
fn naive(rows: &[Row], address: IpAddr) -> Option<Route> {
    let mut best: Option<&Row> = None;
    for row in rows.iter().filter(|row| row.prefix.contains(&address)) {
        if best.is_none_or(|best| row.prefix.prefix_len() > best.prefix.prefix_len()) {
            best = Some(row);
        }
    }
    best.map(|row| row.route)
}

fn route() -> impl Strategy<Value = Route> {
    let hop = (0_u16..3, 0_u32..4)
        .prop_map(|(network, host)| Route::Via(NetworkId(network), Ipv4Addr::from_bits(host).into()));
    prop_oneof![(0..=u16::MAX).prop_map(|id| Route::Connected(NetworkId(id))), hop, Just(Route::Blackhole)]
}

/// Few distinct bytes, so that prefixes contain each other, and share paths of every length.
fn byte() -> impl Strategy<Value = u8> {
    prop_oneof![Just(0), Just(10), Just(0xff), 0_u8..4, any::<u8>()]
}

fn v4() -> impl Strategy<Value = Ipv4Addr> {
    [byte(), byte(), byte(), byte()].prop_map(Ipv4Addr::from)
}

fn v6() -> impl Strategy<Value = Ipv6Addr> {
    (prop::collection::vec(byte(), 16), 0_usize..=16).prop_map(|(mut bytes, zeros)| {
        bytes[16 - zeros..].fill(0);
        Ipv6Addr::from(<[u8; 16]>::try_from(bytes).unwrap())
    })
}

fn row() -> impl Strategy<Value = Row> {
    let v4 = (v4(), 0_u8..=32).prop_map(|(address, len)| IpNet::new(address.into(), len).unwrap());
    let v6 = (v6(), 0_u8..=128).prop_map(|(address, len)| IpNet::new(address.into(), len).unwrap());
    (prop_oneof![v4, v6], route()).prop_map(|(prefix, route)| Row { prefix, route })
}

/// Addresses worth asking for: the ends of each prefix, their neighbours, and others.
fn asked(rows: &[Row], others: &[(Ipv4Addr, Ipv6Addr)]) -> Vec<IpAddr> {
    let mut list: Vec<IpAddr> = others.iter().flat_map(|(v4, v6)| [(*v4).into(), (*v6).into()]).collect();
    for row in rows {
        for end in [row.prefix.network(), row.prefix.broadcast()] {
            let near = |step: i8| -> IpAddr {
                match end {
                    IpAddr::V4(end) => {
                        Ipv4Addr::from_bits(end.to_bits().wrapping_add_signed(step.into())).into()
                    }
                    IpAddr::V6(end) => {
                        Ipv6Addr::from_bits(end.to_bits().wrapping_add_signed(step.into())).into()
                    }
                }
            };
            list.extend([near(-1), end, near(1)]);
        }
    }
    list
}

proptest! {
    #[test]
    fn agrees_with_a_list(rows in prop::collection::vec(row(), 0..60), others in prop::collection::vec((v4(), v6()), 40)) {
        let fib = Fib::build(rows.iter().copied());
        for address in asked(&rows, &others) {
            prop_assert_eq!(fib.get(address), naive(&rows, address), "{}", address);
        }
        let mut prefixes: Vec<IpNet> = rows.iter().map(|row| row.prefix.trunc()).collect();
        prefixes.sort_unstable();
        prefixes.dedup();
        prop_assert_eq!(fib.len(), prefixes.len());
        prop_assert_eq!(fib.iter().map(|row| row.prefix).collect::<Vec<_>>(), prefixes);
    }
}

#[test]
fn an_empty_table_has_no_route() {
    let fib = Fib::build([]);
    assert!(fib.is_empty());
    assert_eq!(fib.get("10.0.0.1".parse().unwrap()), None);
    assert_eq!(fib.get("fd00::1".parse().unwrap()), None);
}

#[test]
fn of_equal_prefixes_the_first_wins_whatever_their_host_bits() {
    let row = |prefix: &str, network| Row {
        prefix: prefix.parse().unwrap(),
        route: Route::Connected(NetworkId(network)),
    };
    let fib = Fib::build([row("10.1.2.3/16", 1), row("10.1.0.0/16", 2)]);
    assert_eq!(
        (fib.len(), fib.get("10.1.255.255".parse().unwrap())),
        (1, Some(Route::Connected(NetworkId(1))))
    );
}

/// What a node with a full table has: every /24 of 10.0.0.0/8 and every /64 of a /48, each with a route of its own kind.
#[test]
fn a_full_table() {
    let hop = |n: u32| Route::Via(NetworkId((n % 7) as u16), Ipv4Addr::from_bits(n % 1000).into());
    let v4 = (0..1_u32 << 16).map(|n| Row {
        prefix: IpNet::new(Ipv4Addr::from_bits(10 << 24 | n << 8).into(), 24).unwrap(),
        route: hop(n),
    });
    let base: u128 = 0xfd00_0001_0002 << 80;
    let v6 = (0..1_u32 << 16).map(|n| Row {
        prefix: IpNet::new(Ipv6Addr::from_bits(base | u128::from(n) << 64).into(), 64).unwrap(),
        route: hop(n),
    });
    let fib = Fib::build(v4.chain(v6));
    assert_eq!(fib.len(), 2 << 16);
    for n in (0..1_u32 << 16).step_by(37) {
        assert_eq!(fib.get_v4(Ipv4Addr::from_bits(10 << 24 | n << 8 | 9)), Some(hop(n)));
        assert_eq!(fib.get_v6(Ipv6Addr::from_bits(base | u128::from(n) << 64 | 9)), Some(hop(n)));
    }
    assert_eq!(fib.get_v4(Ipv4Addr::new(11, 0, 0, 0)), None);
    assert_eq!(fib.get_v6(Ipv6Addr::from_bits(base + (1 << 80))), None);
}

#[test]
fn a_route_is_small() {
    assert!(size_of::<Route>() <= 24, "{}", size_of::<Route>());
}
