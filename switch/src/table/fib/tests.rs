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
    prop_oneof![
        (0..=u16::MAX).prop_map(|id| Route::Connected(NetworkId(id))),
        hop,
        Just(Route::Blackhole),
        Just(Route::Unreachable)
    ]
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

/// The list after `changes`.
fn after(mut rows: Vec<Row>, changes: &[Change]) -> Vec<Row> {
    for change in changes {
        rows.retain(|row| row.prefix.trunc() != change.prefix.trunc());
        rows.extend(change.route.map(|route| Row { prefix: change.prefix, route }));
    }
    rows
}

/// True when both have the same rows and say the same of `asked`.
fn alike(one: &Fib, other: &Fib, asked: &[IpAddr]) -> Result<(), TestCaseError> {
    prop_assert_eq!(one.len(), other.len());
    prop_assert!(one.iter().eq(other.iter()), "rows differ");
    for address in asked {
        prop_assert_eq!(one.get(*address), other.get(*address), "{}", address);
    }
    Ok(())
}

proptest! {
    #[test]
    fn changes_lead_to_what_building_anew_gives(
        rows in prop::collection::vec(row(), 0..40),
        steps in prop::collection::vec(prop::collection::vec((row(), any::<bool>(), any::<prop::sample::Index>()), 1..5), 1..8),
        others in prop::collection::vec((v4(), v6()), 20),
    ) {
        let (mut list, mut fib) = (rows, Fib::default());
        fib = fib.changed(&list.iter().rev().map(|row| Change { prefix: row.prefix, route: Some(row.route) }).collect::<Vec<_>>());
        for step in steps {
            let changes: Vec<Change> = step
                .into_iter()
                .map(|(new, remove, which)| match (remove, list.len()) {
                    (true, 1..) => Change { prefix: which.get(&list).prefix, route: None },
                    // Sometimes one that is not there.
                    (true, 0) => Change { prefix: new.prefix, route: None },
                    _ => Change { prefix: new.prefix, route: Some(new.route) },
                })
                .collect();
            let (before, known) = (fib.clone(), Fib::build(list.iter().copied()));
            fib = fib.changed(&changes);
            let asked = asked(&list, &others);
            list = after(list, &changes);
            alike(&fib, &Fib::build(list.iter().copied()), &asked)?;
            // Whoever still has the table before sees no change.
            alike(&before, &known, &asked)?;
        }
        for row in &list {
            prop_assert_eq!(fib.row(row.prefix.trunc()), naive_exact(&list, row.prefix));
        }
    }
}

fn naive_exact(rows: &[Row], prefix: IpNet) -> Option<Route> {
    rows.iter().find(|row| row.prefix.trunc() == prefix.trunc()).map(|row| row.route)
}

/// Numbers without visible order, always the same (xorshift).
fn numbers() -> impl FnMut(u32) -> u32 {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    move |below| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (((state >> 32) * u64::from(below)) >> 32) as u32
    }
}

/// Hosts beside each other and prefixes around them: more than a tree takes, so that bytes are told apart by tables.
fn crowd(count: u32, below: &mut impl FnMut(u32) -> u32) -> Vec<Row> {
    (0..count)
        .map(|number| {
            let len = [32, 32, 32, 32, 28, 24, 20, 16, 12, 8][below(10) as usize];
            let host = 10 << 24 | below(4) << 16 | below(1 << 14);
            let prefix = match number % 2 {
                0 => IpNet::new_assert(Ipv4Addr::from_bits(host).into(), len).trunc(),
                // A /64 full of hosts: the second window of a tree.
                _ => {
                    let base = 0xfd00_0001_0002_0003 << 64 | u128::from(host);
                    IpNet::new_assert(Ipv6Addr::from_bits(base).into(), 96 + len).trunc()
                }
            };
            Row { prefix, route: Route::Via(NetworkId(1), Ipv4Addr::from_bits(below(50)).into()) }
        })
        .collect()
}

#[test]
fn a_crowded_table_changes_as_it_is_built() {
    let mut below = numbers();
    let rows = crowd(30_000, &mut below);
    let mut fib = Fib::build(rows.iter().copied());
    let mut list: Vec<Row> = fib.iter().copied().collect();
    assert!(list.len() > 14_000, "{}", list.len());
    let asked: Vec<IpAddr> = asked(&list, &[]).into_iter().step_by(7).collect();
    for round in 0..12 {
        // Fewer and fewer, then more again: tables become trees and tables once more.
        let changes: Vec<Change> = match round {
            0..6 => (0..list.len() / 65)
                .map(|_| Change { prefix: list[below(list.len() as u32) as usize].prefix, route: None })
                .collect(),
            _ => crowd(300, &mut below)
                .iter()
                .map(|row| Change { prefix: row.prefix, route: Some(row.route) })
                .collect(),
        };
        fib = fib.changed(&changes);
        let gone: Vec<IpNet> = changes.iter().map(|change| change.prefix).collect();
        list.retain(|row| !gone.contains(&row.prefix));
        let mut new: Vec<Row> = changes
            .iter()
            .rev()
            .filter_map(|change| Some(Row { prefix: change.prefix, route: change.route? }))
            .collect();
        list.append(&mut new);
        if let Err(error) = alike(&fib, &Fib::build(list.iter().copied()), &asked) {
            panic!("round {round}: {error}");
        }
    }
}

/// A table of the next byte exists only while there are many prefixes: down to a handful one by one, and up again.
#[test]
fn a_crowd_that_goes_and_comes_back() {
    let mut below = numbers();
    let rows: Vec<Row> = Fib::build(crowd(12_000, &mut below)).iter().copied().collect();
    let full = Fib::build(rows.iter().copied());
    let asked: Vec<IpAddr> = asked(&rows, &[]).into_iter().step_by(31).collect();
    let mut fib = full.clone();
    let steps: Vec<&[Row]> = rows.chunks(60).collect();
    for (number, step) in steps.iter().enumerate() {
        fib = fib
            .changed(&step.iter().map(|row| Change { prefix: row.prefix, route: None }).collect::<Vec<_>>());
        if number % 40 == 0 {
            let left = Fib::build(rows[(60 * (number + 1)).min(rows.len())..].iter().copied());
            alike(&fib, &left, &asked).unwrap();
        }
    }
    assert!(fib.is_empty() && asked.iter().all(|address| fib.get(*address).is_none()));
    for step in steps.iter().rev() {
        fib = fib.changed(
            &step.iter().map(|row| Change { prefix: row.prefix, route: Some(row.route) }).collect::<Vec<_>>(),
        );
    }
    alike(&fib, &full, &asked).unwrap();
}

#[test]
fn a_change_shares_what_it_does_not_touch() {
    let mut below = numbers();
    let fib = Fib::build(crowd(20_000, &mut below));
    let change = |prefix: &str| Change { prefix: prefix.parse().unwrap(), route: Some(Route::Blackhole) };
    let v6 = fib.changed(&[change("fd00::/8")]);
    assert!(Arc::ptr_eq(&fib.v4, &v6.v4) && !Arc::ptr_eq(&fib.v6, &v6.v6));
    let v4 = fib.changed(&[change("10.0.0.0/24")]);
    assert!(Arc::ptr_eq(&fib.v6, &v4.v6) && !Arc::ptr_eq(&fib.v4, &v4.v4));
    assert_eq!(v4.rows.shared_with(&fib.rows) + 1, v4.rows.pieces());
}

/// Hops that are gone are forgotten some time.
#[test]
fn hops_that_come_and_go_fill_no_memory() {
    let mut fib = Fib::default();
    let prefix = "10.0.0.0/8".parse().unwrap();
    for number in 0..5_000 {
        let route = Route::Via(NetworkId(0), Ipv4Addr::from_bits(number).into());
        fib = fib.changed(&[Change { prefix, route: Some(route) }]);
        assert_eq!(fib.get("10.1.2.3".parse().unwrap()), Some(route));
    }
    assert!(fib.hops.len() < 1_100, "{}", fib.hops.len());
}

#[test]
fn a_route_is_small() {
    assert!(size_of::<Route>() <= 24, "{}", size_of::<Route>());
}
