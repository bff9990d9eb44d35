//! What must hold of the packet that an ICMP error quotes, by which a connection is found: for any bytes whatever.

use std::net::IpAddr;

use shunt_switch::state::Tuple;

/// Panics when a property does not hold; `bytes` begin with the quoted IP header. True when a connection could be looked for.
pub(crate) fn check(bytes: &[u8]) -> bool {
    let quoted = Tuple::quoted(bytes, 7);
    // What is cut off behind changes nothing, until too little is left.
    let shortest = (0..=bytes.len()).find(|cut| Tuple::quoted(&bytes[..*cut], 7).is_some());
    for cut in shortest.into_iter().flat_map(|from| from..bytes.len()) {
        assert_eq!(Tuple::quoted(&bytes[..cut], 7), quoted, "cut at {cut}");
    }
    assert_eq!(quoted.is_some(), shortest.is_some());
    let Some(quoted) = quoted else { return false };
    let parts = quoted.tuple.parts();
    assert_eq!(parts.zone, 7);
    // Of protocols without ports not even the transport header need be quoted.
    assert!((20..=bytes.len()).contains(&quoted.l4));
    let (source, destination) = match bytes[0] >> 4 {
        4 => (&bytes[12..16], &bytes[16..20]),
        6 => (&bytes[8..24], &bytes[24..40]),
        other => panic!("version {other}"),
    };
    assert_eq!((octets(parts.source), octets(parts.destination)), (source.to_vec(), destination.to_vec()));
    if matches!(parts.protocol, 6 | 17 | 132) {
        let ports = &bytes[quoted.l4..quoted.l4 + 4];
        assert_eq!([parts.source_port.to_be_bytes(), parts.destination_port.to_be_bytes()].concat(), ports);
    }
    assert_eq!(quoted.tuple.reversed().reversed(), quoted.tuple);
    true
}

fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(v4) => v4.octets().to_vec(),
        IpAddr::V6(v6) => v6.octets().to_vec(),
    }
}
