//! Frames of a port behind which tunnels end: what is for one of our tunnels is opened in the same pass, and the key is
//! that of the frame inside.
//!
//! Cost for a frame that is no tunnel's: the terminator's few comparisons in front of the usual parse.

use std::sync::Arc;

use shunt_ffi::Mbuf;

use super::{Layout, Unparsed, deep, parse_into};
use crate::encap::{Inner, Opening, Terminator};
use crate::flow::key::{Depth, FlowKey};
use crate::ids::PortId;
use crate::wire::ethernet::{self, Mac};

/// Bytes of a VLAN tag.
const TAG: usize = 4;

/// Where tunnels end: in one network.
#[derive(Clone, Debug)]
pub struct End {
    /// The switch's MAC address there: what is not sent to it is not for us.
    pub mac: Mac,
    /// Its tunnels.
    pub terminator: Arc<Terminator>,
}

impl End {
    #[inline]
    fn at(&self, header: &ethernet::Header, l3: usize) -> Option<(&Terminator, usize)> {
        (self.mac == header.dst).then_some((&*self.terminator, l3))
    }
}

/// What opens the tunnels that end behind one port.
#[derive(Clone, Debug)]
pub struct Openers {
    /// For frames without a tag.
    pub untagged: Option<End>,
    /// For frames of a VLAN, by VLAN identifier.
    pub tagged: Box<[(u16, End)]>,
    /// TPID of the port's tags.
    pub tpid: u16,
    /// How deep frames that are no tunnel's are looked into.
    pub depth: Depth,
    /// How deep frames inside are looked into.
    pub inner: Depth,
}

impl Openers {
    /// As [`parse_into`]; of a tunnel packet for us the key and the layout are those of the frame inside, once it has been
    /// taken out as `inner` says ([`crate::encap::decapsulate()`]). `None` in `inner` when there is no tunnel.
    ///
    /// # Errors
    /// As [`parse_into`], and [`Unparsed::Refused`] for a tunnel packet that is not taken.
    #[inline]
    pub fn parse_into(
        &self,
        frame: &Mbuf,
        port: PortId,
        key: &mut FlowKey,
        inner: &mut Option<Inner>,
    ) -> Result<Layout, Unparsed> {
        *inner = None;
        let data = frame.data();
        let opening = match self.terminator(data) {
            Some((terminator, l3)) => terminator.open_frame(frame, l3),
            None => Opening::NotOurs,
        };
        let found = match opening {
            Opening::Inner(found) => found,
            Opening::NotOurs => return at_depth(data, frame.len(), port, self.depth, key),
            Opening::Refused(reason) => return Err(Unparsed::Refused(reason)),
            Opening::Split => return Err(Unparsed::Split),
        };
        let at = usize::from(found.offset);
        let layout = if found.ip == 0 {
            let rest = data.get(at..).ok_or(Unparsed::Split)?;
            let rest = rest.get(..usize::from(found.length)).unwrap_or(rest);
            at_depth(rest, found.length.into(), port, self.inner, key)?
        } else {
            let end = at + usize::from(found.length);
            let data = data.get(..end).unwrap_or(data);
            deep::packet(data, end as u32, at, found.ip, port, self.inner, key)?
        };
        key.set_tunnel(found.binding, found.peer);
        *inner = Some(found);
        Ok(layout)
    }

    /// The terminator of the frame's network, and the offset of its IP header.
    #[inline]
    fn terminator(&self, data: &[u8]) -> Option<(&Terminator, usize)> {
        let header = ethernet::parse(data)?;
        if header.ethertype != self.tpid {
            return self.untagged.as_ref()?.at(&header, ethernet::HEADER);
        }
        let tag = data.get(ethernet::HEADER..)?.first_chunk::<TAG>()?;
        let vid = u16::from_be_bytes([tag[0], tag[1]]) & 0x0fff;
        let end = match vid {
            0 => self.untagged.as_ref()?,
            _ => {
                let at = self.tagged.binary_search_by_key(&vid, |(vid, _)| *vid).ok()?;
                self.tagged.get(at).map(|(_, end)| end)?
            }
        };
        end.at(&header, ethernet::HEADER + TAG)
    }
}

/// Parses a frame of `port` as a worker does: with the port's openers if it has any, else as deep as `depth` says.
///
/// # Errors
/// As [`Openers::parse_into`].
pub fn parse_frame(
    openers: Option<&Openers>,
    frame: &Mbuf,
    port: PortId,
    depth: Depth,
) -> Result<(FlowKey, Layout, Option<Inner>), Unparsed> {
    let (mut key, mut inner) = (FlowKey::default(), None);
    let layout = match openers {
        Some(openers) => openers.parse_into(frame, port, &mut key, &mut inner)?,
        None => at_depth(frame.data(), frame.len(), port, depth, &mut key)?,
    };
    Ok((key, layout, inner))
}

/// [`parse_into`] with a depth that is not known when the program is built.
#[inline(always)]
fn at_depth(
    data: &[u8],
    len: u32,
    port: PortId,
    depth: Depth,
    key: &mut FlowKey,
) -> Result<Layout, Unparsed> {
    match depth {
        Depth::Ethernet => parse_into(data, len, port, Depth::Ethernet, key),
        Depth::Network => parse_into(data, len, port, Depth::Network, key),
        Depth::Transport => parse_into(data, len, port, Depth::Transport, key),
    }
}
