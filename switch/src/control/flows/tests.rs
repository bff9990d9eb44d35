//! What a walk keeps, and flows in words.

use super::*;
use crate::drop::DropReason;
use crate::flow::key::{Depth, Fragment, L3, L4, Marks};
use crate::flow::{Actions, FlowKey, Verdict};
use crate::topology::stamps::Dependencies;
use crate::wire::ethernet::Mac;

fn port(index: usize) -> PortId {
    PortId::new(index).unwrap()
}

fn kept(packets: u64) -> Kept {
    let entry = Entry {
        key: FlowKey::ethernet(port(0), Mac(2), Mac(4), 0x0800),
        packets,
        bytes: packets * 60,
        generation: 3,
        second: 7,
        rests_on: Dependencies::NONE,
        actions: Actions::unchanged(Verdict::Drop(DropReason::SamePort)),
    };
    Kept { worker: 1, now: 9, stale: false, entry }
}

#[test]
fn the_busiest_are_kept_and_the_others_counted() {
    let mut walk = FlowWalk::new(3, None);
    for packets in [5, 1, 9, 2, 9, 7] {
        walk.keep(kept(packets));
    }
    assert_eq!(walk.more(), 3);
    let mut names = Names::default();
    names.generation = 5 << 32 | 4;
    let rows = walk.rows(&names);
    assert_eq!(rows.iter().map(|row| row.packets).collect::<Vec<_>>(), [9, 9, 7]);
    let row = &rows[0];
    assert_eq!((row.worker, row.bytes, row.age, row.generation), (1, 540, 2, 5 << 32 | 3));
    assert_eq!(
        (row.port.as_str(), row.actions.as_slice()),
        ("(slot 0)", &["drop(same_port)".to_owned()][..])
    );
    let mut none = FlowWalk::new(0, None);
    none.keep(kept(1));
    assert_eq!((none.more(), none.rows(&Names::default()).len()), (1, 0));
}

#[test]
fn the_limit_is_limited() {
    assert_eq!(FlowWalk::new(usize::MAX, None).limit, LIMIT_MAX);
    assert!(!FlowWalk::new(1, None).is_done(), "a walk has not begun, and is not done");
}

#[test]
fn keys_in_words_name_what_is_in_them() {
    let mut key = FlowKey::ethernet(
        port(1),
        Mac::from_bytes([2, 0, 0, 0, 0, 2]),
        Mac::from_bytes([2, 0, 0, 0, 0, 1]),
        0x8100,
    );
    let ends = "eth.src==02:00:00:00:00:01 && eth.dst==02:00:00:00:00:02";
    assert_eq!(words::key(&key), format!("{ends} && eth.type==0x8100"));

    key.set_vlan(0x0800, 0x2005, 7);
    key.set_ipv4(0x0a00_0001, 0x0a00_0002);
    let marks = Marks {
        depth: Depth::Network,
        tags: 2,
        service_tag: true,
        l3: L3::Ipv4,
        ttl_expired: true,
        ..Marks::default()
    };
    key.set_facts(6, 0, marks);
    let addresses = "ip4.src==10.0.0.1 && ip4.dst==10.0.0.2";
    let tags = "vlan.tci==0x2005 && vlan.tpid==0x88a8 && vlan.inner.tci==0x0007";
    assert_eq!(words::key(&key), format!("{ends} && {tags} && {addresses} && ip.proto==6 && ip.ttl<=1"));

    let marks = Marks { depth: Depth::Transport, l3: L3::Ipv4, l4: L4::Known, ..Marks::default() };
    key.set_facts(6, 0xb8, marks);
    key.set_ports(1000, 80);
    let rest = "ip.tos==0xb8 && tcp.src==1000 && tcp.dst==80";
    assert_eq!(words::key(&key), format!("{ends} && {addresses} && {rest}"));

    key.set_facts(1, 0, Marks { fragment: Fragment::First, options: true, ..marks });
    key.set_ports(0x0800, 9);
    let rest = "ip.frag==first && ip.options && icmp4.type==8 && icmp4.code==0 && icmp4.id==9";
    assert_eq!(words::key(&key), format!("{ends} && {addresses} && {rest}"));

    key.set_facts(17, 0, Marks { l4: L4::Malformed, ..marks });
    let rest = "ip.proto==17 && ip.payload.malformed";
    assert_eq!(words::key(&key), format!("{ends} && {addresses} && {rest}"));

    key.set_facts(0, 0, Marks { depth: Depth::Network, l3: L3::Malformed, ..Marks::default() });
    assert_eq!(words::key(&key), format!("{ends} && eth.type==0x0800 && ip.malformed"));
}

#[test]
fn actions_are_in_the_order_in_which_they_are_done() {
    use crate::flow::actions::Edits;
    let mut actions = Actions::unchanged(Verdict::Port(port(3)));
    let names = Names::default();
    assert_eq!(words::actions(&names, &actions), ["output:(slot 3)"]);
    actions.set_macs(Mac::from_bytes([2, 0, 0, 0, 0, 2]), Mac::from_bytes([2, 0, 0, 0, 0, 1]));
    actions.edits = actions.edits.and(Edits::TTL);
    assert_eq!(
        words::actions(&names, &actions),
        ["dec ip4.ttl", "set eth.dst 02:00:00:00:00:02", "set eth.src 02:00:00:00:00:01", "output:(slot 3)"]
    );
    actions.verdict = Verdict::Drop(DropReason::Blackhole);
    assert_eq!(words::actions(&names, &actions), ["drop(blackhole)"]);
}
