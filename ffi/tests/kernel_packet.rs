//! A veth port against the kernel on the other side: every byte, every tag, every length, and nothing leaked.

mod kernel_support;

use kernel_support::raw::Raw;
use kernel_support::*;
use shunt_ffi::Burst;
use shunt_ffi::kernel::{Gone, MAX_SEGMENTS};
use shunt_ffi::offload::Checksum;
use shunt_tests::{Interface, require};

/// Longest frame a veth carries without segmentation.
const LONGEST: usize = 65535 + 14;

fn jumbo() -> Interface<'static> {
    Interface { mtu: 65535, ..Default::default() }
}

#[test]
fn frames_of_all_lengths_come_in_unchanged() {
    require!(root());
    let mut pod = Pod::new(jumbo());
    let raw = Raw::open(&pod.netns, "eth0");
    let mut burst = Burst::new();
    for length in lengths(LONGEST) {
        let frame = pattern(length, length as u8);
        raw.send(&frame);
        let got = loop {
            pod.receive(&mut burst);
            let mut ours = burst.drain().filter(|frame| is_ours(frame.data()));
            if let Some(frame) = ours.next() {
                assert!(ours.next().is_none(), "one frame was sent");
                break frame;
            }
        };
        assert_eq!(got.len() as usize, length);
        assert!(got.to_vec() == frame, "{length} bytes came in changed");
        assert_eq!(got.offload().unwrap().checksum, Checksum::Complete);
    }
    let statistics = pod.port.rx[0].statistics();
    assert_eq!((statistics.undecodable, statistics.truncated, pod.port.device.kernel_drops()), (0, 0, 0));
    finish([pod]);
}

#[test]
fn frames_of_all_lengths_go_out_unchanged() {
    require!(root());
    let mut pod = Pod::new(jumbo());
    let mut raw = Raw::open(&pod.netns, "eth0");
    for length in lengths(LONGEST) {
        let frame = pattern(length, !length as u8);
        pod.send(&frame);
        let got = raw.expect(is_ours);
        assert!(got == frame, "{length} bytes went out as {}", got.len());
    }
    finish([pod]);
}

#[test]
fn bursts_keep_their_order() {
    require!(root());
    let mut pod = Pod::new(jumbo());
    let mut raw = Raw::open(&pod.netns, "eth0");
    let lengths: Vec<usize> = (0..200).map(|number| 60 + number * 331 % 65000).collect();
    // Out, in full bursts.
    for chunk in lengths.chunks(64) {
        let mut burst = Burst::new();
        for &length in chunk {
            burst.push(site().pools.large.frame(&pattern(length, 1)).unwrap()).unwrap();
        }
        let sent = pod.port.tx.transmit(&mut burst).unwrap();
        assert_eq!((sent.sent, sent.refused, burst.len()), (chunk.len(), 0, 0));
    }
    for &length in &lengths {
        assert!(raw.expect(is_ours) == pattern(length, 1));
    }
    // In, many waiting at once; a burst ends after its byte limit, never after more than asked for.
    for &length in &lengths {
        raw.send(&pattern(length, 2));
    }
    let mut got = Vec::new();
    until("all frames", || {
        let mut burst = Burst::new();
        let count = pod.port.rx[0].receive(&mut burst, 7).unwrap();
        assert!(count <= 7);
        got.extend(burst.drain().map(|frame| frame.to_vec()).filter(|frame| is_ours(frame)));
        (got.len() == lengths.len()).then_some(())
    });
    assert!(got.iter().zip(&lengths).all(|(frame, &length)| *frame == pattern(length, 2)));
    finish([pod]);
}

#[test]
fn vlan_tags_survive_both_ways() {
    require!(root());
    let mut pod = Pod::new(Interface::default());
    let mut raw = Raw::open(&pod.netns, "eth0");
    let mut burst = Burst::new();
    let tags: [&[u16]; 5] = [
        &[0x8100, 5],
        &[0x8100, 0xe000],
        &[0x88a8, 0x2fff],
        &[0x88a8, 7, 0x8100, 0x0fff],
        &[0x8100, 1, 0x8100, 2],
    ];
    for tag in tags {
        for length in [60, 61, 1400] {
            let mut frame = pattern(length, 3);
            let tag: Vec<u8> = tag.iter().flat_map(|word| word.to_be_bytes()).collect();
            frame.splice(12..12, tag.iter().copied());
            raw.send(&frame);
            let got = loop {
                pod.receive(&mut burst);
                let ours = burst.drain().find(|frame| is_ours(frame.data()));
                if let Some(frame) = ours {
                    break frame;
                }
            };
            assert_eq!(got.to_vec(), frame, "tag {tag:02x?} came in changed");
            // The kernel's own receive path takes the outer tag out before the raw socket sees the frame.
            pod.send(&frame);
            let got = raw.expect(is_ours);
            frame.drain(12..16);
            assert_eq!(got, frame, "tag {tag:02x?} went out changed");
        }
    }
    finish([pod]);
}

#[test]
fn a_frame_that_cannot_be_sent_is_refused_and_the_others_go() {
    require!(root());
    let mut pod = Pod::with(Interface::default(), |options| options.mtu = Some(1500));
    let mut raw = Raw::open(&pod.netns, "eth0");
    let small = site().pools.small;
    let mut shattered = small.frame(&pattern(14, 0)).unwrap();
    for _ in 0..MAX_SEGMENTS {
        shattered.chain(small.frame(&[1]).unwrap()).unwrap();
    }
    let mut many = small.frame(&pattern(60, 0)).unwrap();
    for seed in 1..MAX_SEGMENTS {
        many.chain(small.frame(&[seed as u8; 16]).unwrap()).unwrap();
    }
    let whole = many.to_vec();
    let mut burst = Burst::new();
    for frame in [
        small.frame(&pattern(5000, 0)).unwrap(),
        small.frame(&pattern(60, 1)).unwrap(),
        shattered,
        small.frame(&pattern(60, 2)).unwrap(),
        small.frame(&pattern(3000, 0)).unwrap(),
        small.frame(&pattern(60, 3)).unwrap(),
        many,
    ] {
        burst.push(frame).unwrap();
    }
    let sent = pod.port.tx.transmit(&mut burst).unwrap();
    assert_eq!((sent.sent, sent.refused, burst.len()), (4, 3, 0));
    let statistics = pod.port.tx.statistics();
    assert_eq!((statistics.by_kernel, statistics.too_many_segments), (2, 1));
    for seed in 1..=3 {
        assert_eq!(raw.expect(is_ours), pattern(60, seed));
    }
    assert_eq!(raw.expect(is_ours), whole);
    finish([pod]);
}

#[test]
fn a_deleted_interface_is_gone_for_good() {
    require!(root());
    let mut pod = Pod::new(Interface::default());
    let raw = Raw::open(&pod.netns, "eth0");
    let mut burst = Burst::new();
    std::thread::scope(|scope| {
        let load = scope.spawn(|| while raw.try_send(&pattern(1000, 0)).is_ok() {});
        for _ in 0..100 {
            pod.receive(&mut burst);
            burst.clear();
        }
        pod.node.exec(&["ip", "link", "del", "host"]).unwrap();
        load.join().unwrap();
    });
    // Frames that were on their way may still come.
    let gone = until("end", || pod.port.rx[0].receive(&mut burst, 32).map(|_| burst.clear()).err());
    assert_eq!(gone, Gone::Deleted);
    for _ in 0..3 {
        assert_eq!(pod.port.rx[0].receive(&mut burst, 32), Err(Gone::Deleted));
    }
    burst.push(site().pools.small.frame(&pattern(60, 0)).unwrap()).unwrap();
    assert_eq!(pod.port.tx.transmit(&mut burst), Err(Gone::Deleted));
    assert_eq!(burst.len(), 1, "the frame is still the caller's");
    drop(burst);
    finish([pod]);
}

#[test]
fn transmit_alone_notices_that_the_interface_is_gone() {
    require!(root());
    let mut pod = Pod::new(Interface::default());
    pod.node.exec(&["ip", "link", "del", "host"]).unwrap();
    let mut burst = Burst::new();
    burst.push(site().pools.small.frame(&pattern(60, 0)).unwrap()).unwrap();
    assert_eq!(pod.port.tx.transmit(&mut burst), Err(Gone::Deleted));
    assert_eq!(pod.port.rx[0].receive(&mut burst, 32), Err(Gone::Deleted));
    drop(burst);
    finish([pod]);
}

#[test]
fn an_interface_set_down_comes_back() {
    require!(root());
    let mut pod = Pod::new(Interface::default());
    let mut raw = Raw::open(&pod.netns, "eth0");
    let mut burst = Burst::new();
    for round in 0..3 {
        pod.veth.set_up(false).unwrap();
        assert!(!pod.port.device.link_up());
        let gone = until("down", || pod.port.rx[0].receive(&mut burst, 32).map(|_| burst.clear()).err());
        assert_eq!(gone, Gone::Down);
        assert_eq!(pod.port.rx[0].receive(&mut burst, 32), Err(Gone::Down), "a state, not an event");
        burst.push(site().pools.small.frame(&pattern(60, round)).unwrap()).unwrap();
        assert_eq!(pod.port.tx.transmit(&mut burst), Err(Gone::Down));

        pod.veth.set_up(true).unwrap();
        assert_eq!(
            pod.port.tx.transmit(&mut burst).map(|sent| sent.sent),
            Ok(1),
            "the frame kept from before"
        );
        assert_eq!(raw.expect(is_ours), pattern(60, round));
        raw.send(&pattern(61, round));
        until("frame", || {
            pod.port.rx[0].receive(&mut burst, 32).unwrap();
            burst.drain().any(|frame| frame.to_vec() == pattern(61, round)).then_some(())
        });
    }
    finish([pod]);
}

#[test]
fn with_no_buffers_left_frames_wait_in_the_kernel() {
    require!(root());
    let mut pod = Pod::new(Interface::default());
    let raw = Raw::open(&pod.netns, "eth0");
    let mut burst = Burst::new();
    // Take everything: first the landings' refills fail, then nothing is received.
    let mut hoard = Vec::new();
    while let Some(frame) = site().pools.small.alloc() {
        hoard.push(frame);
    }
    for number in 0..50 {
        raw.send(&pattern(100, number));
    }
    let mut got = Vec::new();
    until("an empty pool", || {
        pod.port.rx[0].receive(&mut burst, 32).unwrap();
        got.extend(burst.drain().filter(|frame| is_ours(frame.data())));
        (pod.port.rx[0].statistics().no_buffer > 2).then_some(())
    });
    assert!(got.len() < 50, "the pool was to be empty");
    drop(hoard);
    until("the rest", || {
        pod.port.rx[0].receive(&mut burst, 32).unwrap();
        got.extend(burst.drain().filter(|frame| is_ours(frame.data())));
        (got.len() == 50).then_some(())
    });
    assert!(got.iter().zip(0..).all(|(frame, number)| frame.to_vec() == pattern(100, number)), "in order");
    assert_eq!(pod.port.device.kernel_drops(), 0);
    drop(got);
    finish([pod]);
}

#[test]
fn what_the_kernel_drops_is_counted() {
    require!(root());
    let mut pod = Pod::with(Interface::default(), |options| options.receive_buffer = 64 << 10);
    let raw = Raw::open(&pod.netns, "eth0");
    for _ in 0..1000 {
        raw.send(&pattern(1000, 0));
    }
    let mut burst = Burst::new();
    let mut got = 0;
    while pod.port.rx[0].receive(&mut burst, 32).unwrap() > 0 {
        got += burst.drain().filter(|frame| is_ours(frame.data())).count() as u64;
    }
    let dropped = pod.port.device.kernel_drops();
    assert!(dropped > 0 && got + dropped >= 1000, "got {got}, dropped {dropped}");
    assert_eq!(pod.port.device.kernel_drops(), dropped, "a total, not a difference");
    finish([pod]);
}

#[test]
fn queues_share_the_flows() {
    require!(root());
    let mut pod = Pod::with(Interface::default(), |options| options.queues = 3);
    let raw = Raw::open(&pod.netns, "eth0");
    let mut burst = Burst::new();
    for flow in 0..60u8 {
        for number in 0..5 {
            let mut frame = wire::Shape { v6: false, udp: true, vlan: false, payload: 20 }.partial();
            frame[35] = flow;
            *frame.last_mut().unwrap() = number;
            raw.send(&frame);
        }
    }
    let mut by_queue = [0; 3];
    let mut seen = vec![(usize::MAX, 0u8); 60];
    until("all frames", || {
        for (index, queue) in pod.port.rx.iter_mut().enumerate() {
            queue.receive(&mut burst, 32).unwrap();
            for frame in burst.drain().filter(|frame| frame.data()[12..14] == [8, 0]) {
                let bytes = frame.to_vec();
                let (flow, number) = (usize::from(bytes[35]), bytes[bytes.len() - 1]);
                by_queue[index] += 1;
                let (queue, next) = &mut seen[flow];
                assert!(*next == 0 || *queue == index, "flow {flow} changed its queue");
                assert_eq!(*next, number, "flow {flow} out of order");
                (*queue, *next) = (index, number + 1);
            }
        }
        (by_queue.iter().sum::<usize>() == 300).then_some(())
    });
    assert!(by_queue.iter().all(|&count| count > 0), "all queues work: {by_queue:?}");
    finish([pod]);
}
