use std::os::fd::OwnedFd;

use nix::sys::eventfd::EventFd;
use nix::sys::memfd::{MFdFlags, memfd_create};

use super::*;

const USER: u64 = 0x7000_0000_0000;
const SIZE: u64 = 1 << 20;

fn message(request: u32, words: &[u64], fds: Vec<OwnedFd>) -> Message {
    let payload = words.iter().flat_map(|word| word.to_le_bytes()).collect();
    Message { request, flags: 1, payload, fds }
}

/// Ring and number in one word.
fn state(ring: u64, number: u64) -> [u64; 1] {
    [ring | number << 32]
}

fn memory(rules: &mut Rules) -> Result<Verdict, Refusal> {
    let file = memfd_create("memory", MFdFlags::empty()).unwrap();
    nix::unistd::ftruncate(&file, SIZE as i64).unwrap();
    rules.check(&message(request::SET_MEM_TABLE, &[1, 0, SIZE, USER, 0], vec![file]))
}

fn kick(rules: &mut Rules, ring: u64) -> Result<Verdict, Refusal> {
    rules.check(&message(request::SET_VRING_KICK, &[ring], vec![EventFd::new().unwrap().into()]))
}

fn address(rules: &mut Rules, ring: u64, at: u64) -> Result<Verdict, Refusal> {
    rules.check(&message(request::SET_VRING_ADDR, &[ring, at, at + 0x2000, at + 0x1000, 0], vec![]))
}

fn set(rules: &mut Rules, request: u32, ring: u64, number: u64) -> Result<Verdict, Refusal> {
    rules.check(&message(request, &state(ring, number), vec![]))
}

const YES: Result<Verdict, Refusal> = Ok(Verdict::Change);

fn ready(pairs: u16, features: u64) -> Rules {
    let mut rules = Rules::new(pairs);
    assert_eq!(rules.check(&message(request::SET_FEATURES, &[features], vec![])), YES);
    assert_eq!(memory(&mut rules), YES);
    rules
}

#[test]
fn the_orders_that_front_ends_use_are_allowed() {
    // QEMU and virtio-user: size, base, address, kick. rust-vmm: size, address, base, kick.
    for features in [0, EVENT_IDX, PACKED, PACKED | EVENT_IDX] {
        for base_first in [true, false] {
            let mut rules = ready(1, features);
            for _restart in 0..3 {
                assert_eq!(set(&mut rules, request::SET_VRING_NUM, 1, 256), YES);
                if base_first {
                    assert_eq!(set(&mut rules, request::SET_VRING_BASE, 1, 200), YES);
                }
                assert_eq!(address(&mut rules, 1, USER), YES);
                if !base_first {
                    assert_eq!(set(&mut rules, request::SET_VRING_BASE, 1, 200), YES);
                }
                assert_eq!(kick(&mut rules, 1), YES);
                assert_eq!(set(&mut rules, request::SET_VRING_ENABLE, 1, 1), YES);
                assert_eq!(set(&mut rules, request::GET_VRING_BASE, 1, 0), Ok(Verdict::ChangeAndAnswer));
            }
        }
    }
}

#[test]
fn a_ring_needs_its_size_before_its_address_and_after_every_stop() {
    let mut rules = ready(1, 0);
    assert_eq!(address(&mut rules, 0, USER), Err(Refusal::RingOrder(0)));
    assert_eq!(kick(&mut rules, 0), Err(Refusal::RingOrder(0)));
    assert_eq!(set(&mut rules, request::SET_VRING_NUM, 0, 256), YES);
    assert_eq!(address(&mut rules, 0, USER), YES);
    assert_eq!(set(&mut rules, request::SET_VRING_NUM, 0, 256), YES);
    assert_eq!(set(&mut rules, request::SET_VRING_NUM, 0, 512), Err(Refusal::RingOrder(0)));
    assert_eq!(set(&mut rules, request::GET_VRING_BASE, 0, 0), Ok(Verdict::ChangeAndAnswer));
    assert_eq!(kick(&mut rules, 0), Err(Refusal::RingOrder(0)));
}

#[test]
fn rings_that_the_library_forgets_are_forgotten() {
    let mut rules = ready(2, MQ);
    assert_eq!(set(&mut rules, request::SET_VRING_NUM, 3, 256), YES);
    assert_eq!(rules.check(&message(request::SET_FEATURES, &[0], vec![])), Err(Refusal::Features));
    // The features the guest has anyway may be said again; without MQ that frees rings 2 and 3.
    let mut rules = ready(2, 0);
    assert_eq!(set(&mut rules, request::SET_VRING_NUM, 3, 256), YES);
    assert_eq!(rules.check(&message(request::SET_FEATURES, &[LOG_ALL], vec![])), YES);
    assert_eq!(address(&mut rules, 3, USER), Err(Refusal::RingOrder(3)));
}

#[test]
fn a_packed_ring_starts_inside_itself() {
    let mut rules = ready(1, PACKED);
    assert_eq!(set(&mut rules, request::SET_VRING_BASE, 0, 0x8000 | 99), YES);
    assert_eq!(set(&mut rules, request::SET_VRING_NUM, 0, 100), YES);
    assert_eq!(kick(&mut rules, 0), YES);
    assert_eq!(set(&mut rules, request::SET_VRING_BASE, 0, 100), Err(Refusal::RingBase(0)));
    assert_eq!(set(&mut rules, request::GET_VRING_BASE, 0, 0), Ok(Verdict::ChangeAndAnswer));
    assert_eq!(set(&mut rules, request::SET_VRING_NUM, 0, 10), YES);
    assert_eq!(kick(&mut rules, 0), Err(Refusal::RingBase(0)), "the library still has 99 or more");
    assert_eq!(set(&mut rules, request::SET_VRING_BASE, 0, 9), YES);
    assert_eq!(kick(&mut rules, 0), YES);
}

#[test]
fn a_ring_fits_its_region_to_the_byte() {
    for (features, event) in [(0, 0), (EVENT_IDX, 2)] {
        let mut rules = ready(1, features);
        assert_eq!(set(&mut rules, request::SET_VRING_NUM, 0, 256), YES);
        let used = 4 + 8 * 256 + event;
        let last = USER + SIZE - used;
        let message = |used| message(request::SET_VRING_ADDR, &[0, USER, used, USER + 0x1000, 0], vec![]);
        assert_eq!(rules.check(&message(last)), YES);
        assert_eq!(rules.check(&message(last + 1)), Err(Refusal::RingAddress(0)));
    }
}
