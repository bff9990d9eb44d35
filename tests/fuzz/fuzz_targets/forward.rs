//! Arbitrary frames through a whole worker, from parsing to the transmit queue: nothing panics, no buffer is lost, and the cache says what
//! the stages say.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    shunt_switch::worker::hostile::check(input);
});
