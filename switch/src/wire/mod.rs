//! Wire formats, as far as the data path reads and writes them. Every length is checked against the buffer, never
//! against a word of a header.

pub mod arp;
pub mod checksum;
pub mod crc32c;
pub mod echo;
pub mod ethernet;
pub mod fragment;
pub mod icmp;
pub mod lacp;
pub mod nd;
pub mod protocol;
pub mod reset;
pub mod tcp;
