//! The way of every frame that is not plain untagged IPv4: tags, the straight way once more, then header by header.
//!
//! Cost: a call and 40 to 200 instructions; one more read for each tag and extension header.

use super::bytes::{Bytes, Missing, Refused};
use super::plain::{self, Rest};
use super::{Layout, TAG, Unparsed, ipv4, ipv6, transport};
use crate::flow::key::{Depth, FlowKey, Fragment, L3, L4, Marks};
use crate::ids::PortId;
use crate::wire::ethernet::{self, CUSTOMER_TAG, Mac, SERVICE_TAG};

/// What an IP header and its extensions say, apart from the addresses.
pub(super) struct Ip {
    /// Offset of what is behind them.
    pub(super) l4: usize,
    /// Bytes from there to the end of the packet.
    pub(super) payload: usize,
    pub(super) protocol: u8,
    pub(super) traffic_class: u8,
    pub(super) fragment: Fragment,
    pub(super) ttl_expired: bool,
    pub(super) options: bool,
}

/// Why a frame whose first segment is shorter than an Ethernet header has no key.
#[cold]
pub(super) fn no_header(len: u32) -> Unparsed {
    if (len as usize) < ethernet::HEADER { Unparsed::Runt } else { Unparsed::Split }
}

/// Parses to [`Depth::Network`] or [`Depth::Transport`].
#[inline(never)]
pub(super) fn parse(
    data: &[u8],
    len: u32,
    port: PortId,
    depth: Depth,
    key: &mut FlowKey,
) -> Result<Layout, Unparsed> {
    // Read again rather than passed: a key that is an argument lies in memory, and its stores with it.
    let Some(header) = ethernet::parse(data) else { return Err(no_header(len)) };
    let mut link = FlowKey::ethernet(port, header.dst, header.src, header.ethertype);
    let mut marks = Marks { depth, ..Marks::default() };
    let frame = Bytes::new(data, len);
    let (ethertype, l3) = tags(frame, &mut link, &mut marks)?;
    let packet = Rest::behind(data, len, l3);
    let plain = match ethertype {
        // Without a tag the caller has tried.
        ethernet::IPV4 if marks.tags > 0 => packet.and_then(|packet| plain::ipv4(packet, link, marks, key)),
        ethernet::IPV6 => packet.and_then(|packet| plain::ipv6(packet, link, marks, key)),
        _ => None,
    };
    if let Some(layout) = plain {
        return Ok(layout);
    }
    *key = link;
    long(frame, ethertype, l3, marks, key)
}

/// A packet without an Ethernet header, at `at` in a frame: as with a header of zeros in place of the bytes before it.
pub(super) fn packet(
    data: &[u8],
    len: u32,
    at: usize,
    ethertype: u16,
    port: PortId,
    depth: Depth,
    key: &mut FlowKey,
) -> Result<Layout, Unparsed> {
    let frame = Bytes::new(data, len);
    let zero = Mac(0);
    *key = FlowKey::ethernet(port, zero, zero, ethertype);
    let layout = long(frame, ethertype, at, Marks { depth, ..Marks::default() }, key)?;
    let before = at.saturating_sub(ethernet::HEADER) as u16;
    Ok(Layout { l3: layout.l3.saturating_sub(before), l4: layout.l4.saturating_sub(before) })
}

/// Everything that is not plain, header by header.
#[inline(never)]
pub(super) fn long(
    frame: Bytes<'_>,
    ethertype: u16,
    l3: usize,
    mut marks: Marks,
    key: &mut FlowKey,
) -> Result<Layout, Unparsed> {
    let (ip, version) = match ethertype {
        ethernet::IPV4 => (ipv4::read(frame, l3, key), L3::Ipv4),
        ethernet::IPV6 => (ipv6::read(frame, l3, key), L3::Ipv6),
        _ => {
            key.set_facts(0, 0, marks);
            return Ok(Layout::default());
        }
    };
    let ip = match ip {
        Ok(ip) => ip,
        Err(Refused::Split) => return Err(Unparsed::Split),
        Err(Refused::Malformed) => {
            marks.l3 = L3::Malformed;
            key.set_facts(0, 0, marks);
            return Ok(Layout::default());
        }
    };
    marks.l3 = version;
    marks.fragment = ip.fragment;
    marks.ttl_expired = ip.ttl_expired;
    marks.options = ip.options;
    let l4 = if ip.fragment == Fragment::Later { 0 } else { ip.l4 };
    let traffic_class = if marks.depth == Depth::Transport {
        above(frame, &ip, version, key, &mut marks)?;
        ip.traffic_class
    } else {
        0
    };
    key.set_facts(ip.protocol, traffic_class, marks);
    // Two tags, an IP header and eight extension headers of 2048 bytes are below 2^16.
    Ok(Layout { l3: l3 as u16, l4: l4 as u16 })
}

/// Reads up to two tags into the key; the EtherType behind them and the offset of what follows it.
#[inline]
fn tags(frame: Bytes<'_>, key: &mut FlowKey, marks: &mut Marks) -> Result<(u16, usize), Unparsed> {
    let mut ethertype = key.ethertype();
    let mut at = ethernet::HEADER;
    let mut tci = [0; 2];
    for slot in &mut tci {
        if ethertype != CUSTOMER_TAG && ethertype != SERVICE_TAG {
            break;
        }
        let [a, b, c, d] = match frame.read::<TAG>(at) {
            Ok(tag) => *tag,
            Err(Missing::Split) => return Err(Unparsed::Split),
            Err(Missing::Beyond) => break,
        };
        marks.service_tag |= marks.tags == 0 && ethertype == SERVICE_TAG;
        marks.tags += 1;
        *slot = u16::from_be_bytes([a, b]);
        ethertype = u16::from_be_bytes([c, d]);
        at += TAG;
    }
    key.set_vlan(ethertype, tci[0], tci[1]);
    Ok((ethertype, at))
}

/// Fills what is above the IP header.
fn above(
    frame: Bytes<'_>,
    ip: &Ip,
    version: L3,
    key: &mut FlowKey,
    marks: &mut Marks,
) -> Result<(), Unparsed> {
    if ip.fragment == Fragment::Later {
        return Ok(());
    }
    match transport::read(frame.cut(ip.l4, ip.payload), ip, version) {
        Ok(Some(ports)) => {
            key.set_ports(ports.0, ports.1);
            marks.l4 = L4::Known;
        }
        Ok(None) => {}
        Err(Refused::Split) => return Err(Unparsed::Split),
        Err(Refused::Malformed) => marks.l4 = L4::Malformed,
    }
    Ok(())
}
