use std::net::IpAddr;
use std::sync::OnceLock;

use shunt_ffi::Mempool;
use shunt_ffi::eal::{Eal, EalOptions, Memory};

use super::*;
use crate::ids::NetworkId;
use crate::wire::ethernet::Mac;

fn pool() -> Mempool {
    static POOL: OnceLock<Mempool> = OnceLock::new();
    *POOL.get_or_init(|| {
        let memory = Memory::Ordinary { megabytes: 64 };
        let eal = Eal::start(&EalOptions { memory, pci: false }).expect("EAL starts without privileges");
        Mempool::new(eal, "held", 255, 2048).expect("memory for a small pool")
    })
}

fn question(host: u16) -> Question {
    let address = |host: u16| IpAddr::from([10, 0, (host >> 8) as u8, host as u8]);
    Question { network: NetworkId(0), target: address(host), source: address(254), mac: Mac(2) }
}

/// A packet whose only byte says which it is.
fn packet(mark: u8, port: usize, host: u16, since: u32) -> Waiting {
    let frame = pool().frame(&[mark]).expect("a free buffer");
    Waiting { frame, port: PortId::new(port).unwrap(), question: question(host), opened: None, since }
}

fn mark(packet: &Waiting) -> u8 {
    packet.frame.data()[0]
}

#[test]
fn the_newest_of_a_neighbour_are_kept_in_order() {
    let mut held = Held::default();
    for number in 0..3 {
        assert!(held.hold(packet(number, 0, 1, 0), 1, 0).is_none());
    }
    assert!(held.hold(packet(9, 0, 2, 0), 1, 0).is_none(), "another neighbour has room of its own");
    let lost = held.hold(packet(3, 1, 1, 0), 1, 0).expect("the oldest goes");
    assert_eq!(mark(&lost), 0);
    let order: Vec<u8> = std::iter::from_fn(|| held.next()).map(|packet| mark(&packet)).collect();
    assert_eq!(order, [1, 2, 9, 3]);
}

#[test]
fn nobody_takes_all_the_room_and_there_is_no_more_than_there_is() {
    let mut held = Held::default();
    let mut refused = 0;
    for host in 0..100 {
        refused += usize::from(held.hold(packet(0, 0, host, 0), 1, 0).is_some());
    }
    assert_eq!((held.len(), refused), (PER_PORT, 100 - PER_PORT));
    assert!(held.hold(packet(7, 1, 200, 0), 1, 0).is_none(), "another port has room");
    for port in 2..20 {
        for host in 0..20 {
            held.hold(packet(0, port, 1000 * port as u16 + host, 0), 1, 0);
        }
    }
    assert_eq!(held.len(), ROOM);
    let capacity = held.packets.capacity();
    assert_eq!(
        mark(&held.hold(packet(8, 99, 201, 0), 1, 0).unwrap()),
        8,
        "full: it is the new one that goes"
    );
    assert_eq!(held.packets.capacity(), capacity, "memory grew");
    assert_eq!(held.forget(PortId::new(0).unwrap()), PER_PORT);
    assert!(held.hold(packet(8, 99, 201, 0), 1, 0).is_none());
}

#[test]
fn a_new_topology_is_tried_once_and_questions_are_repeated_each_second_for_three() {
    let mut held = Held::default();
    held.hold(packet(1, 0, 1, 5), 7, 5);
    assert_eq!(held.due(7, 5), Due::Nothing, "it was decided under that topology");
    assert_eq!(held.due(8, 5), Due::Retry);
    assert_eq!(held.due(8, 5), Due::Nothing);
    assert_eq!(held.due(9, 6), Due::AskAgain);
    assert_eq!(held.due(9, 6), Due::Nothing);
    let packet = held.next().unwrap();
    assert!(!packet.is_over(7) && packet.is_over(8));
}
