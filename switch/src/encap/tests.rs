//! Oracles: `etherparse`, which reads every outer packet and computes every checksum anew; and identity: what went into a
//! tunnel comes out of it. Golden packets are in `tests/golden/`.

mod golden;
mod hostile;
mod marks;
mod offload;
mod roundtrip;
mod samples;
mod train;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::OnceLock;

use shunt_ffi::Mempool;
use shunt_ffi::eal::{Eal, EalOptions, Memory};

use super::*;
use crate::wire::ethernet::Mac;

const DST: Mac = Mac::from_bytes([2, 0, 0, 0, 0xee, 1]);
const SRC: Mac = Mac::from_bytes([2, 0, 0, 0, 0xee, 2]);

fn pool() -> Mempool {
    static POOL: OnceLock<Mempool> = OnceLock::new();
    *POOL.get_or_init(|| {
        let memory = Memory::Ordinary { megabytes: 64 };
        let eal = Eal::start(&EalOptions { memory, pci: false }).expect("EAL starts without privileges");
        Mempool::new(eal, "encap", 256, 2048).expect("memory for a small pool")
    })
}

/// Both ends, sender first.
fn ends(v6: bool) -> (IpAddr, IpAddr) {
    if v6 {
        let end = |last| Ipv6Addr::new(0xfd00, 0x10, 0, 0, 0, 0, 0, last).into();
        (end(1), end(2))
    } else {
        (Ipv4Addr::new(10, 186, 152, 114).into(), Ipv4Addr::new(10, 186, 152, 101).into())
    }
}

/// What a sender would use.
fn outer(encap: Encap, v6: bool) -> Outer {
    let (local, remote) = ends(v6);
    Outer {
        dst: DST,
        src: SRC,
        tag: None,
        local,
        remote,
        ttl: Outer::TTL,
        dscp: Dscp::Fixed(0),
        port: encap.udp_port().unwrap_or(0),
        udp_checksum: false,
    }
}

/// What its receiver would have.
fn row(encap: Encap, v6: bool) -> terminator::Row {
    let (remote, local) = ends(v6);
    terminator::Row {
        local,
        encap,
        port: encap.udp_port().unwrap_or(0),
        zero_checksum: true,
        binding: 7,
        peers: vec![(remote, 3)],
    }
}

/// Every kind of tunnel.
fn kinds() -> Vec<Encap> {
    vec![
        Encap::Vxlan { vni: 2 },
        Encap::Geneve { vni: 0x00ff_fffe, ovn: None },
        Encap::Geneve { vni: 5, ovn: Some(geneve::ovn(3, 0x8005)) },
        Encap::Gre { key: None, payload: Payload::Ethernet },
        Encap::Gre { key: Some(0xffff_ffff), payload: Payload::Ethernet },
        Encap::Gre { key: None, payload: Payload::Ip },
        Encap::Gre { key: Some(9), payload: Payload::Ip },
        Encap::IpIp,
    ]
}
