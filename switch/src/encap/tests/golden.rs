//! Packets made by another program (scapy): `tests/golden/encap/README.md`. And one written by hand from the RFCs.

use std::fs::File;
use std::path::Path;

use pcap_file::pcap::PcapReader;

use super::*;

/// Of the files: entropy of the flow.
const ENTROPY: u16 = 0x1234;

fn read(name: &str) -> (Vec<u8>, Vec<u8>) {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/golden/encap");
    let path = directory.join(name).with_extension("pcap");
    let file = File::open(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let mut reader = PcapReader::new(file).unwrap();
    let mut next = || reader.next_packet().unwrap().unwrap().data.into_owned();
    let packets = (next(), next());
    assert!(reader.next_packet().is_none(), "{name} has two packets");
    packets
}

/// What is in the file, and by what it is made and read.
struct Golden {
    name: &'static str,
    encap: Encap,
    outer: Outer,
}

fn golden(name: &'static str, encap: Encap, local: &str, remote: &str) -> Golden {
    let (local, remote) = (local.parse().unwrap(), remote.parse().unwrap());
    Golden { name, encap, outer: Outer { local, remote, ..outer(encap, false) } }
}

fn files() -> Vec<Golden> {
    const NODE: &str = "10.186.152.114";
    const PEER: &str = "10.186.152.101";
    const NODE6: &str = "fd00:10::1";
    const PEER6: &str = "fd00:10::2";
    let vxlan = |vni| Encap::Vxlan { vni };
    let gre = |key, payload| Encap::Gre { key, payload };
    let with = |golden: Golden, change: fn(&mut Outer)| {
        let mut golden = golden;
        change(&mut golden.outer);
        golden
    };
    vec![
        golden("vxlan-002-14", vxlan(2), NODE, PEER),
        golden("vxlan-002-29-reply", vxlan(2), PEER, NODE),
        with(golden("vxlan-tagged-1155", vxlan(2), NODE, PEER), |outer| {
            outer.tag = Some(Tag { tci: 5 << 13 | 1155, service: false });
        }),
        golden("vxlan-004-4", vxlan(1), "192.168.1.1", "192.168.1.2"),
        with(golden("vxlan-flannel", vxlan(1), "192.168.1.1", "192.168.1.2"), |outer| outer.port = 8472),
        golden("vxlan-arp", vxlan(0x00ff_ffff), NODE, PEER),
        golden("vxlan-ipv6", vxlan(2), NODE6, PEER6),
        with(golden("vxlan-checksum", vxlan(2), NODE, PEER), |outer| outer.udp_checksum = true),
        with(golden("vxlan-ipv6-checksum", vxlan(2), NODE6, PEER6), |outer| outer.udp_checksum = true),
        golden("geneve", Encap::Geneve { vni: 5, ovn: None }, NODE, PEER),
        with(
            golden(
                "geneve-003-3-ovn",
                Encap::Geneve { vni: 7, ovn: Some(geneve::ovn(3, 0x8005)) },
                "10.184.134.82",
                "10.184.134.83",
            ),
            |outer| outer.dscp = Dscp::Inherit,
        ),
        golden("gre-ethernet", gre(None, Payload::Ethernet), NODE6, PEER6),
        golden("gre-ethernet-key", gre(Some(0x0102_0304), Payload::Ethernet), NODE, PEER),
        golden("gre-ip", gre(None, Payload::Ip), NODE, PEER),
        golden("gre-ip-key-ipv6", gre(Some(9), Payload::Ip), NODE, PEER),
        golden("ipip-4in4", Encap::IpIp, NODE, PEER),
        golden("ipip-6in4", Encap::IpIp, NODE, PEER),
        golden("ipip-4in6", Encap::IpIp, NODE6, PEER6),
        golden("ipip-6in6", Encap::IpIp, NODE6, PEER6),
    ]
}

#[test]
fn our_packets_are_theirs() {
    for Golden { name, encap, outer } in files() {
        let (inside, wire) = read(name);
        let mut frame = pool().frame(&inside).unwrap();
        encap.template(&outer).unwrap().push(ENTROPY, &mut frame).unwrap();
        assert_eq!(frame.to_vec(), wire, "{name}");
    }
}

#[test]
fn theirs_are_opened() {
    for Golden { name, encap, outer } in files() {
        let (inside, wire) = read(name);
        let row = terminator::Row {
            local: outer.remote,
            encap,
            port: outer.port,
            zero_checksum: name == "vxlan-ipv6",
            binding: 1,
            peers: vec![(outer.local, 2)],
        };
        let mut frame = pool().frame(&wire).unwrap();
        let l3 = if outer.tag.is_some() { 18 } else { 14 };
        let Opening::Inner(inner) = Terminator::build(&[row]).open_frame(&frame, l3) else {
            panic!("{name} is not opened")
        };
        // The MAC addresses of the frame whose packet was carried, where only that was.
        let link = crate::wire::ethernet::parse(&inside).unwrap();
        decapsulate(&mut frame, &inner, link.dst, link.src).unwrap();
        assert_eq!(frame.to_vec(), inside, "{name}");
    }
}

#[test]
fn every_file_is_read() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/golden/encap");
    let mut found: Vec<String> = std::fs::read_dir(directory)
        .unwrap()
        .filter_map(|entry| {
            entry.unwrap().file_name().into_string().unwrap().strip_suffix(".pcap").map(Into::into)
        })
        .collect();
    let mut known: Vec<_> = files().iter().map(|file| file.name.to_owned()).collect();
    found.sort();
    known.sort();
    assert_eq!(found, known);
}

/// Reference 002's "VXLAN packet", field by field from RFC 791, RFC 768 and RFC 7348.
#[test]
fn the_headers_of_reference_002_by_hand() {
    let encap = Encap::Vxlan { vni: 2 };
    let wanted = [
        &[0x02, 0x00, 0x00, 0x00, 0xee, 0x01, 0x02, 0x00, 0x00, 0x00, 0xee, 0x02, 0x08, 0x00][..],
        // Version 4, 20 bytes, class 0; length 50 - 14; not to be fragmented; TTL 64, UDP.
        &[0x45, 0x00, 0x00, 0x24, 0x00, 0x00, 0x40, 0x00, 0x40, 0x11],
        // 4500 + 0024 + 0000 + 4000 + 4011 + 0aba + 9872 + 0aba + 9865 = 20b80; with the carry 0b82; its complement.
        &[0xf4, 0x7d],
        &[10, 186, 152, 114, 10, 186, 152, 101],
        // Ports: any, 4789; length 16; no checksum.
        &[0x00, 0x00, 0x12, 0xb5, 0x00, 0x10, 0x00, 0x00],
        // I flag, VNI 2.
        &[0x08, 0x00, 0x00, 0x00, 0x00, 0x00, 0x02, 0x00],
    ]
    .concat();
    let template = encap.template(&outer(encap, false)).unwrap();
    let mut empty = pool().frame(&[]).unwrap();
    template.push(0, &mut empty).unwrap();
    let mut made = empty.to_vec();
    assert_eq!(made[34..36], [0xc0, 0x00], "the first port of tunnels");
    made[34..36].fill(0);
    assert_eq!(made, wanted);
    assert_eq!((template.len(), encap.overhead(false)), (50, 50));
    assert_eq!(Encap::Geneve { vni: 1, ovn: Some(0) }.overhead(false), 58);
    assert_eq!(Encap::Vxlan { vni: 2 }.overhead(true), 70);
    assert_eq!(Encap::IpIp.overhead(false), 20);
    assert_eq!(Encap::Gre { key: None, payload: Payload::Ip }.overhead(false), 24);
}
