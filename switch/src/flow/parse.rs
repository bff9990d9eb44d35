//! From the bytes of a frame to its [`FlowKey`], in one pass.
//!
//! In: the contiguous bytes at the start of a frame, the length of the whole frame, the ingress port, how deep to look.
//! Out: the key, and where the headers are. Every length is checked against the frame, never against a header's word, and
//! every read is checked against the bytes at hand.
//!
//! Cost: [`Depth::Ethernet`] is two loads. An untagged IPv4 TCP or UDP packet without options and not a fragment goes one
//! straight way (`plain`), inlined into the caller; behind a tag, and with IPv6 without extension headers, the same behind
//! one call or two. Everything else (options, extension headers, fragments, ICMP, whatever is wrong) goes the long way (`deep`).
//!
//! A key parsed to a depth has zeros in every field that belongs to a deeper one:
//!
//! | depth | fields |
//! |---|---|
//! | [`Depth::Ethernet`] | port, MACs, EtherType of the frame, depth |
//! | [`Depth::Network`] | also tags and the EtherType behind them, addresses, protocol, `l3`, fragment, TTL class, options |
//! | [`Depth::Transport`] | also ports, traffic class, `l4` |
//!
//! What is not sound is [`L3::Malformed`] or [`L4::Malformed`], and no other field of that layer or of a deeper one is
//! filled, so that all frames with the same fault share a key. A tag of which fewer than four bytes are there is no tag:
//! its TPID stays the EtherType. The checksum of the IPv4 header is not verified here.
//!
//! [`L3::Malformed`]: super::key::L3::Malformed
//! [`L4::Malformed`]: super::key::L4::Malformed

mod bytes;
mod deep;
mod ipv4;
mod ipv6;
mod openers;
mod plain;
mod transport;

use thiserror::Error;

use super::key::{Depth, FlowKey, Marks};
use crate::drop::DropReason;
use crate::ids::PortId;
use crate::wire::ethernet;
pub use openers::{End, Openers, parse_frame};
use plain::Rest;

/// Bytes of a tag: TCI and the EtherType behind it.
const TAG: usize = 4;

/// Where the headers of a frame are, in bytes from its start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Layout {
    /// The IP header; 0 when there is none, when it is not sound, or when it was not looked for.
    pub l3: u16,
    /// What follows the IP header and its extension headers; 0 when `l3` is 0 and in a later fragment. With
    /// [`L4::Known`](super::key::L4::Known) the fixed part of the transport header (TCP 20, UDP and ICMP 8, SCTP 12 bytes) lies wholly in the
    /// bytes that were parsed.
    pub l4: u16,
}

/// Why there is no key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Unparsed {
    /// The frame has fewer than the 14 bytes of an Ethernet header.
    #[error("the frame is shorter than an ethernet header")]
    Runt,
    /// A header lies partly in a later segment: make the frame's start contiguous and parse again.
    #[error("a header continues in the next segment: make it contiguous and parse again")]
    Split,
    /// A tunnel packet for us that is not taken, for that reason.
    #[error("a tunnel packet that is not taken: {}", .0.name())]
    Refused(DropReason),
}

/// Parses a frame of `len` bytes, of which `data` are the first, as deep as `depth` says.
///
/// When `data` is longer than `len`, the length of `data` counts. In a loop over a burst use [`parse_into`].
///
/// # Errors
/// [`Unparsed::Runt`] and [`Unparsed::Split`]. A frame whose bytes all lie in `data` is never split; a runt is one at
/// every depth.
#[inline(always)]
pub fn parse(data: &[u8], len: u32, port: PortId, depth: Depth) -> Result<(FlowKey, Layout), Unparsed> {
    let mut key = FlowKey::default();
    let layout = parse_into(data, len, port, depth, &mut key)?;
    Ok((key, layout))
}

/// [`parse`], with the key written where it is wanted: a key that is returned is copied, and a copy right after it was
/// written word by word waits for the store buffer (5 ns a packet here).
///
/// # Errors
/// As [`parse`]; `key` then holds nothing of use.
#[inline(always)]
pub fn parse_into(
    data: &[u8],
    len: u32,
    port: PortId,
    depth: Depth,
    key: &mut FlowKey,
) -> Result<Layout, Unparsed> {
    // Each depth a program of its own: a depth that is a value costs forty instructions in selecting what to store.
    let plain = match depth {
        Depth::Ethernet => return surface(data, len, port, key),
        Depth::Network => untagged(data, len, port, Depth::Network, key),
        Depth::Transport => untagged(data, len, port, Depth::Transport, key),
    };
    match plain {
        Some(layout) => Ok(layout),
        None if depth == Depth::Network => tagged::<false>(data, len, port, key),
        None => tagged::<true>(data, len, port, key),
    }
}

/// [`Depth::Ethernet`].
#[inline(always)]
fn surface(data: &[u8], len: u32, port: PortId, key: &mut FlowKey) -> Result<Layout, Unparsed> {
    let Some(header) = ethernet::parse(data) else { return Err(deep::no_header(len)) };
    *key = FlowKey::ethernet(port, header.dst, header.src, header.ethertype);
    Ok(Layout::default())
}

/// Plain IPv4 directly behind the Ethernet header.
#[inline(always)]
fn untagged(data: &[u8], len: u32, port: PortId, depth: Depth, key: &mut FlowKey) -> Option<Layout> {
    let packet = Rest::behind(data, len, ethernet::HEADER)?;
    let header = ethernet::parse(data)?;
    if header.ethertype != ethernet::IPV4 {
        return None;
    }
    let link = FlowKey::ethernet(port, header.dst, header.src, ethernet::IPV4);
    plain::ipv4(packet, link, Marks { depth, ..Marks::default() }, key)
}

/// Plain IPv4 behind one tag, as most frames of a trunk are; all else goes the long way. Deep is [`Depth::Transport`], else
/// [`Depth::Network`].
#[inline(never)]
fn tagged<const DEEP: bool>(
    data: &[u8],
    len: u32,
    port: PortId,
    key: &mut FlowKey,
) -> Result<Layout, Unparsed> {
    let depth = if DEEP { Depth::Transport } else { Depth::Network };
    let mut plain = || {
        let header = ethernet::parse(data)?;
        let service_tag = header.ethertype == ethernet::SERVICE_TAG;
        if !service_tag && header.ethertype != ethernet::CUSTOMER_TAG {
            return None;
        }
        let packet = Rest::behind(data, len, ethernet::HEADER + TAG)?;
        let &[a, b, c, d] = data.get(ethernet::HEADER..)?.first_chunk::<TAG>()?;
        if u16::from_be_bytes([c, d]) != ethernet::IPV4 {
            return None;
        }
        let mut link = FlowKey::ethernet(port, header.dst, header.src, ethernet::IPV4);
        link.set_vlan(ethernet::IPV4, u16::from_be_bytes([a, b]), 0);
        plain::ipv4(packet, link, Marks { depth, tags: 1, service_tag, ..Marks::default() }, key)
    };
    match plain() {
        Some(layout) => Ok(layout),
        None => deep::parse(data, len, port, depth, key),
    }
}

#[cfg(test)]
mod tests;
