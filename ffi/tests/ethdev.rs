//! Devices of DPDK by device arguments: `net_ring`, which gives back what it was given, and `net_null`, which takes everything; errors
//! with the call and its reason; DPDK's own lines in `tracing`.

use std::io::Write;
use std::sync::{Arc, Mutex, OnceLock};

use shunt_ffi::eal::{Eal, EalOptions, Memory};
use shunt_ffi::ethdev::{EthDevice, EthError, EthOptions, Opened};
use shunt_ffi::{Burst, Mempool, log};

fn eal() -> Eal {
    Eal::start(&EalOptions { memory: Memory::Ordinary { megabytes: 64 }, pci: false }).expect("EAL starts")
}

/// One pool for each test: nextest runs each in a process of its own, and `cargo test` then has as many.
fn pool(name: &str, count: u32) -> Mempool {
    Mempool::new(eal(), name, count, 2048).expect("memory for a small pool")
}

fn options(devargs: &str, pool: Mempool) -> EthOptions {
    EthOptions {
        devargs: devargs.to_owned(),
        rx_queues: 1,
        tx_queues: 1,
        mtu: None,
        descriptors: 256,
        tx_free_threshold: None,
        pool,
        interrupts: false,
    }
}

fn open(options: &EthOptions) -> Opened {
    EthDevice::open(eal(), options).unwrap_or_else(|error| panic!("{error}"))
}

fn burst(pool: Mempool, frames: impl IntoIterator<Item = Vec<u8>>) -> Burst {
    let mut burst = Burst::new();
    frames.into_iter().for_each(|bytes| burst.push(pool.frame(&bytes).expect("a free buffer")).unwrap());
    burst
}

#[test]
fn what_is_sent_comes_back_and_is_counted() {
    let pool = pool("ring", 1024);
    let all = pool.available();
    let mut opened = open(&options("net_ring_back", pool));
    assert_eq!(opened.device.driver(), "net_ring");
    assert!(opened.device.link().up);
    let mut frames = burst(pool, [vec![1; 60], vec![2; 61], vec![3; 62]]);
    assert_eq!(opened.tx[0].transmit(&mut frames), 3);
    assert!(frames.is_empty(), "what was sent is gone");
    let mut back = Burst::new();
    // Not more than there is room for, or than is asked for.
    assert_eq!(opened.rx[0].receive(&mut back, 2), 2);
    assert_eq!(opened.rx[0].receive(&mut back, 64), 1);
    assert_eq!(opened.rx[0].receive(&mut back, 64), 0);
    assert_eq!(
        back.iter().map(|frame| frame.to_vec()).collect::<Vec<_>>(),
        [vec![1; 60], vec![2; 61], vec![3; 62]]
    );
    let counted = opened.device.statistics().unwrap();
    assert_eq!((counted.rx_packets, counted.tx_packets, counted.tx_errors), (3, 3, 0));
    drop(back);
    drop(opened);
    assert_eq!(pool.available(), all);
}

#[test]
fn a_full_burst_is_filled_no_further() {
    let pool = pool("full", 1024);
    let mut opened = open(&options("net_ring_full", pool));
    let mut frames = burst(pool, vec![vec![9; 60]; 4]);
    assert_eq!(opened.tx[0].transmit(&mut frames), 4);
    let mut nearly = burst(pool, vec![vec![0; 60]; shunt_ffi::MAX_BURST - 1]);
    assert_eq!(opened.rx[0].receive(&mut nearly, 64), 1);
    assert!(nearly.is_full());
    assert_eq!(opened.rx[0].receive(&mut nearly, 64), 0);
}

/// What a ring has no room for stays in the burst, and belongs to who sent it.
#[test]
fn what_a_queue_does_not_take_is_kept() {
    let pool = pool("kept", 4095);
    let all = pool.available();
    let mut opened = open(&options("net_ring_kept", pool));
    let mut sent = 0;
    let left = loop {
        let mut frames = burst(pool, vec![vec![7; 60]; 64]);
        sent += opened.tx[0].transmit(&mut frames);
        if !frames.is_empty() {
            break frames;
        }
        assert!(sent < 4000, "the ring has no end");
    };
    assert!(left.iter().all(|frame| frame.to_vec() == [7; 60]));
    assert_eq!(pool.available() as usize + sent + left.len(), all as usize);
    drop(left);
    let mut received = 0;
    let mut back = Burst::new();
    while opened.rx[0].receive(&mut back, 64) > 0 {
        received += back.len();
        back.clear();
    }
    assert_eq!((received, pool.available()), (sent, all));
}

#[test]
fn a_frame_of_several_segments_passes_whole() {
    let pool = pool("chain", 1024);
    let all = pool.available();
    let mut opened = open(&options("net_ring_chain", pool));
    let bytes: Vec<u8> = (0..9000_u32).map(|n| n as u8).collect();
    let mut frames = burst(pool, [bytes.clone()]);
    assert_eq!(frames[0].segment_count(), 5);
    assert_eq!(opened.tx[0].transmit(&mut frames), 1);
    assert_eq!(pool.available(), all - 5);
    let mut back = Burst::new();
    assert_eq!(opened.rx[0].receive(&mut back, 64), 1);
    assert_eq!((back[0].segment_count(), back[0].len()), (5, 9000));
    assert_eq!(back[0].to_vec(), bytes);
    drop(back);
    assert_eq!(pool.available(), all, "a segment was lost");
}

#[test]
fn queues_and_what_a_device_can() {
    let pool = pool("queues", 1024);
    let wanted = EthOptions { rx_queues: 2, tx_queues: 3, ..options("net_null_queues", pool) };
    let opened = open(&wanted);
    assert_eq!((opened.rx.len(), opened.tx.len()), (2, 3));
    let can = opened.device.capabilities();
    assert!(!can.checksum && !can.tso && !can.interrupts, "{can:?}");
    let rings = opened.device.rings();
    assert!(rings.rx >= 1 && rings.tx >= 1, "{rings:?}");
    assert!(opened.device.mac().is_some() && opened.device.mtu().is_some());
    assert_eq!(opened.rx[0].interrupt_fd(), None);
    drop(opened);

    // More than there are is refused, with the numbers; the device is not left behind.
    let many = EthOptions { rx_queues: 5000, ..options("net_null_queues", pool) };
    match EthDevice::open(eal(), &many) {
        Err(EthError::Queues { wanted: 5000, available, .. }) => assert!(available >= 2),
        other => panic!("{other:?}"),
    }
    open(&options("net_null_queues", pool));
}

#[test]
fn a_device_is_there_once_and_goes_with_its_last_queue() {
    let pool = pool("once", 1024);
    let devargs = "net_null_once,no-rx=1";
    for _ in 0..20 {
        let Opened { device, mut rx, tx } = open(&options(devargs, pool));
        assert!(matches!(EthDevice::open(eal(), &options(devargs, pool)), Err(EthError::Busy(_))));
        drop(device);
        drop(tx);
        // The queue alone keeps it.
        assert!(matches!(EthDevice::open(eal(), &options(devargs, pool)), Err(EthError::Busy(_))));
        assert_eq!(rx[0].receive(&mut Burst::new(), 64), 0);
    }
}

/// A pool that runs out in the middle of something gives back what was taken for it.
#[test]
fn an_exhausted_pool_leaks_nothing() {
    let pool = pool("empty", 63);
    let all = pool.available();
    assert_eq!(all, 63);
    let mut opened = open(&options("net_null_empty,size=60", pool));
    // A device that gives as many frames as there are buffers, and then none.
    let mut held = Vec::new();
    loop {
        let mut frames = Burst::new();
        if opened.rx[0].receive(&mut frames, 16) == 0 {
            break;
        }
        held.push(frames);
        assert!(held.len() < 100, "more frames than buffers");
    }
    held.pop();
    let free = pool.available();
    assert!((1..48).contains(&free), "{free}");
    // One buffer too few: for a chain, for a copy, for many at once.
    let long = vec![5; 2048 * free as usize + 1];
    assert!(pool.frame(&long).is_none());
    assert_eq!(pool.available(), free, "a chain that was not finished");
    let mut frames = Burst::new();
    assert!(!pool.alloc_bulk(&mut frames, free as usize + 1));
    assert_eq!((frames.len(), pool.available()), (0, free));
    let half = pool.frame(&vec![5; 2048 * (free as usize / 2 + 1)]).expect("half of the buffers");
    let before = pool.available();
    assert!(half.deep_copy(pool).is_none(), "there is no room for a copy");
    assert_eq!(pool.available(), before, "a copy that was not finished");
    drop((half, held));
    assert_eq!(pool.available(), all);
}

#[test]
fn an_error_has_the_call_and_its_reason() {
    let pool = pool("errors", 255);
    // A file that is not there: the driver refuses, DPDK says so.
    let error =
        EthDevice::open(eal(), &options("net_pcap_none,rx_pcap=/nowhere/none.pcap", pool)).unwrap_err();
    let text = error.to_string();
    let EthError::Dpdk { devargs, source } = error else { panic!("{text}") };
    assert_eq!(devargs, "net_pcap_none,rx_pcap=/nowhere/none.pcap");
    assert_eq!(source.function, "rte_dev_probe");
    assert!(source.errno > 0 && !source.text.is_empty(), "{source:?}");
    assert!(text.contains("rte_dev_probe") && text.contains(&source.text), "{text}");

    let error = Mempool::new(eal(), "errors", 255, 2048).unwrap_err();
    assert_eq!((error.function, error.errno), ("rte_pktmbuf_pool_create", libc::EEXIST));
    assert!(error.to_string().contains("File exists"), "{error}");
    assert!(matches!(EthDevice::open(eal(), &options("net_null\0", pool)), Err(EthError::Text)));
}

/// What a subscriber has written.
#[derive(Clone, Default)]
struct Written(Arc<Mutex<Vec<u8>>>);

impl Write for Written {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_line_of_dpdk_reaches_tracing() {
    static WRITTEN: OnceLock<Written> = OnceLock::new();
    let written = WRITTEN.get_or_init(Written::default);
    let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(|| written.clone()).finish();
    tracing::subscriber::set_global_default(subscriber).expect("no other subscriber");
    let pool = pool("lines", 255);
    // EAL says itself that there is no such driver.
    EthDevice::open(eal(), &options("net_absent0", pool)).unwrap_err();
    log::drain();
    let text = String::from_utf8(written.0.lock().unwrap().clone()).unwrap();
    let line = text
        .lines()
        .find(|line| line.contains("net_absent0"))
        .unwrap_or_else(|| panic!("no such line in {text}"));
    assert!(line.contains("dpdk: ") && line.contains("ERROR"), "{line}");
    assert_eq!(log::lost_lines(), 0);
}
