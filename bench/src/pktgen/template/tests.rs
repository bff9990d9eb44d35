//! Frames as a receiver that checks everything sees them.

use shunt_switch::wire::checksum::Sum;

use super::*;

const ALL: [Protocol; 6] =
    [Protocol::Udp4, Protocol::Tcp4, Protocol::Icmp4, Protocol::Udp6, Protocol::Tcp6, Protocol::Icmp6];

fn ends(vlan: Option<u16>) -> Ends {
    Ends {
        source_mac: [2, 0, 0, 0, 0, 1],
        destination_mac: [2, 0, 0, 0, 0, 0xfe],
        source4: [10, 0, 1, 10].into(),
        destination4: [10, 0, 2, 250].into(),
        source6: "fd00:1::10".parse().unwrap(),
        destination6: "fd00:2::ffff:fff0".parse().unwrap(),
        vlan,
    }
}

/// What a receiver that checks everything would say.
fn check(frame: &[u8], protocol: Protocol, l3: usize) {
    let ip = &frame[l3..];
    let (l4, pseudo) = if protocol.is_v6() {
        assert_eq!(usize::from(u16::from_be_bytes([ip[4], ip[5]])), ip.len() - 40);
        (&ip[40..], Sum::default().bytes(&ip[8..40]))
    } else {
        assert_eq!(Sum::default().bytes(&ip[..20]).checksum(), 0);
        assert_eq!(usize::from(u16::from_be_bytes([ip[2], ip[3]])), ip.len());
        (&ip[20..], Sum::default().bytes(&ip[12..20]))
    };
    let length = (l4.len() as u16).to_be_bytes();
    let whole = match protocol {
        Protocol::Icmp4 => Sum::default(),
        _ => pseudo.bytes(&[0, protocol.number(), length[0], length[1]]),
    };
    assert_eq!(whole.bytes(l4).checksum(), 0, "{protocol:?} of {} bytes", frame.len());
}

#[test]
fn every_frame_has_right_lengths_and_checksums() {
    for protocol in ALL {
        for size in [64, 65, 67, 128, 594, 1518, 9000] {
            for vlan in [None, Some(100)] {
                let template = Template::new(size, protocol, &ends(vlan));
                for host in [0, 5, 70_000] {
                    let mut frame = template.bytes().to_vec();
                    let flow = Flow { host, source: 1024, destination: 65_000 };
                    let stamp = Stamp::new(3, 77, 0xdead_beef_1234);
                    template.patch(&mut frame, flow, stamp);
                    check(&frame, protocol, if vlan.is_some() { 18 } else { 14 });
                    assert!(frame.ends_with(&stamp.bytes()));
                }
            }
        }
    }
}

#[test]
fn sizes_count_the_checksum_of_the_wire_and_are_raised_where_headers_need_more() {
    let size = |size, protocol, vlan| Template::new(size, protocol, &ends(vlan)).size();
    assert_eq!(size(64, Protocol::Udp4, None), 64);
    assert_eq!(size(64, Protocol::Udp4, Some(5)), 64);
    assert_eq!(size(64, Protocol::Tcp4, None), 70);
    assert_eq!(size(64, Protocol::Udp6, None), 78);
    assert_eq!(size(1518, Protocol::Tcp6, Some(5)), 1518);
    assert_eq!(size(0, Protocol::Udp4, None), SHORTEST);
}

#[test]
fn hosts_count_up_from_the_first_destination() {
    let template = Template::new(64, Protocol::Udp4, &ends(None));
    let mut frame = template.bytes().to_vec();
    template.patch(&mut frame, Flow { host: 10, source: 1, destination: 2 }, Stamp::new(0, 0, 0));
    assert_eq!(frame[30..38], [10, 0, 3, 4, 0, 1, 0, 2]);
}
