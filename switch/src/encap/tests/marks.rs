//! RFC 6040, figure 4, as a table; and that the outer field is the inner one's.

use super::samples::{Sample, class, set_class};
use super::*;

/// Rows: inner Not-ECT, ECT(0), ECT(1), CE. Columns: outer Not-ECT, ECT(0), ECT(1), CE. `None`: drop.
const FIGURE_4: [(u8, [Option<u8>; 4]); 4] = [
    (0b00, [Some(0b00), Some(0b00), Some(0b00), None]),
    (0b10, [Some(0b10), Some(0b10), Some(0b01), Some(0b11)]),
    (0b01, [Some(0b01), Some(0b01), Some(0b01), Some(0b11)]),
    (0b11, [Some(0b11), Some(0b11), Some(0b11), Some(0b11)]),
];
const COLUMNS: [u8; 4] = [0b00, 0b10, 0b01, 0b11];

/// Sends a packet with these marks through a tunnel whose outer packet is marked on the way.
fn through(encap: Encap, v6: bool, sample: &Sample, mark: u8) -> Result<Vec<u8>, DropReason> {
    let mut frame = pool().frame(&sample.bytes()).unwrap();
    encap.template(&outer(encap, v6)).unwrap().push(1, &mut frame).unwrap();
    assert_eq!(class(frame.data(), 14), sample.class_seen() & 0b11, "the outer field is the inner one");
    set_class(frame.data_mut(), 14, v6, mark);
    let terminator = Terminator::build(&[row(encap, v6)]);
    let Opening::Inner(inner) = terminator.open_frame(&frame, 14) else { panic!("not opened") };
    assert_eq!(inner.ecn, mark & 0b11);
    decapsulate(&mut frame, &inner, DST, SRC).map(|()| frame.to_vec())
}

#[test]
fn marks_combine_as_the_figure_says() {
    for encap in kinds() {
        for (v6, inner_v6, tag) in
            [(false, false, false), (true, false, false), (false, true, false), (true, true, true)]
        {
            for (inner, row) in FIGURE_4 {
                for (mark, wanted) in COLUMNS.into_iter().zip(row) {
                    let sample = Sample { v6: inner_v6, tag, class: 0xb8 | inner, ..Sample::udp() };
                    let got = through(encap, v6, &sample, mark);
                    let wanted = wanted.map(|ecn| Sample { class: 0xb8 | ecn, ..sample.clone() }.bytes());
                    match wanted {
                        None => assert_eq!(got, Err(DropReason::TunnelEcn)),
                        Some(wanted) if encap.payload() == Payload::Ethernet => assert_eq!(got, Ok(wanted)),
                        Some(wanted) => assert_eq!(got.unwrap()[14..], wanted[sample.link()..]),
                    }
                }
            }
        }
    }
}

#[test]
fn what_is_not_ip_comes_out_as_it_is() {
    let sample = Sample { body: samples::Body::Arp, ..Sample::udp() };
    let encap = Encap::Vxlan { vni: 2 };
    for mark in COLUMNS {
        assert_eq!(through(encap, false, &sample, mark), Ok(sample.bytes()));
    }
}
