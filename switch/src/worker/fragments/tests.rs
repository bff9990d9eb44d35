use std::sync::OnceLock;

use shunt_ffi::Mempool;
use shunt_ffi::eal::{Eal, EalOptions, Memory};

use super::*;
use crate::flow::key::{Depth, L3, Marks};
use crate::wire::ethernet::Mac;

fn pool() -> Mempool {
    static POOL: OnceLock<Mempool> = OnceLock::new();
    *POOL.get_or_init(|| {
        let memory = Memory::Ordinary { megabytes: 64 };
        let eal = Eal::start(&EalOptions { memory, pci: false }).expect("EAL starts without privileges");
        Mempool::new(eal, "fragments", 1023, 4096).expect("memory for a small pool")
    })
}

fn fragment(port: usize, source: u32, length: usize, since: u32) -> Waiting {
    let mut key = FlowKey::ethernet(PortId::new(port).unwrap(), Mac(1), Mac(2), 0x0800);
    key.set_ipv4(source, 9);
    key.set_facts(17, 0, Marks { depth: Depth::Transport, l3: L3::Ipv4, ..Marks::default() });
    let frame = pool().frame(&vec![0; length]).expect("a free buffer");
    let (port, identity) = (PortId::new(port).unwrap(), Identity::new(&key, 0, since));
    Waiting { frame, port, identity, key, layout: Layout::default(), numbering: 0, since }
}

#[test]
fn nobody_takes_all_the_room() {
    let mut kept = Lingering::default();
    let mut fill = |port: usize, source: u32| {
        (0..300).filter(|_| kept.keep(fragment(port, source, 60, 0)).is_none()).count()
    };
    assert_eq!(fill(0, 1), PER_SOURCE, "a source");
    assert_eq!(fill(0, 2), PER_PORT - PER_SOURCE, "a port");
    assert_eq!(fill(1, 1), 0, "the same source elsewhere");
    assert_eq!(fill(1, 3), PER_SOURCE);
    assert_eq!(fill(2, 4), ROOM - PER_PORT - PER_SOURCE, "the worker");
    assert_eq!(
        kept.take_of(PortId::new(1).unwrap()).map(|one| one.source()),
        Some(Some([0, 0, 0, 3].into()))
    );
    assert!(kept.keep(fragment(3, 5, 60, 0)).is_none(), "a place has come back");
}

#[test]
fn bytes_are_bounded_too() {
    let mut kept = Lingering::default();
    let mut count = 0;
    while kept.keep(fragment(count / 50, count as u32, 3900, 0)).is_none() {
        count += 1;
    }
    assert_eq!(count, BYTES / 3900);
    kept.next().unwrap();
    assert!(kept.keep(fragment(9, 9, 3900, 0)).is_none());
    assert!(kept.keep(fragment(9, 9, 3900, 0)).is_some());
}

#[test]
fn all_are_asked_for_in_turns_when_there_is_news_or_another_second() {
    let mut kept = Lingering::default();
    for number in 0..(AT_ONCE as u32 + 5) {
        assert!(kept.keep(fragment(0, number, 60, number)).is_none());
    }
    let turn = |kept: &mut Lingering, news, now| {
        let due = kept.due(news, now);
        let taken: Vec<u32> = (0..due)
            .map(|_| {
                let one = kept.next().unwrap();
                let since = one.since;
                kept.put_back(one);
                since
            })
            .collect();
        taken
    };
    let all: Vec<u32> = (0..AT_ONCE as u32 + 5).collect();
    assert_eq!(turn(&mut kept, 1, 5), all[..AT_ONCE]);
    assert_eq!(turn(&mut kept, 1, 5), all[AT_ONCE..]);
    assert!(turn(&mut kept, 1, 5).is_empty());
    assert_eq!(turn(&mut kept, 2, 5).len(), AT_ONCE, "news");
    assert_eq!(turn(&mut kept, 2, 6).len(), AT_ONCE, "and before all were asked for, another second");
    assert_eq!(turn(&mut kept, 2, 6).len(), 5);
    let one = fragment(0, 0, 9, 3);
    assert!(!one.is_over(3 + PATIENCE - 1) && one.is_over(3 + PATIENCE));
}
