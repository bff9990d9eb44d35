//! What a routed packet needs to fit its way: TCP SYNs that announce no larger segments than the networks take, and for
//! packets longer than the MTU fragments, smaller segments, or word to the sender.
//!
//! Runs when actions are executed, because the length of a packet is not part of its flow's key. Cost: one comparison for
//! a packet that fits; a call for what is large or, with MSS clamping, TCP.

use shunt_ffi::offload::{Gso, GsoKind, Offload};
use shunt_ffi::{Mbuf, Mempool};

use super::{Flow, Forwarder, Scene};
use crate::drop::DropReason;
use crate::flow::actions::Edits;
use crate::flow::key::{Fragment, L3};
use crate::flow::parse::Layout;
use crate::flow::{Actions, FlowKey, execute};
use crate::offload::fragment::fragment;
use crate::offload::segment::{self, segment};
use crate::offload::{EgressCapabilities, OffloadError, checksum};
use crate::pipeline::Ingress;
use crate::wire::{icmp, tcp};
use crate::worker::reporter::Reply;

/// "Don't fragment" in the first byte of the word with the fragment offset (RFC 791 section 3.1).
const DONT_FRAGMENT: u8 = 0x40;

/// What becomes of a packet that is routed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fit {
    /// It goes as it is.
    Fits,
    /// It is cut into fragments.
    Fragments,
    /// It is cut into smaller segments: of so many bytes of payload.
    Segments(Offload),
    /// It is dropped, and its sender told the MTU.
    TooBig,
}

/// True when a packet wants a second look.
#[inline(always)]
pub(crate) fn is_unusual(actions: &Actions, layout: Layout, frame: &Mbuf) -> bool {
    frame.len() > u32::from(layout.l3) + actions.longest() || actions.edits.has(Edits::CLAMP_MSS)
}

/// What becomes of the packet in `frame` where the MTU is `mtu` (0: any).
pub(crate) fn judge(mtu: u16, key: &FlowKey, layout: Layout, frame: &Mbuf) -> Fit {
    let l3 = usize::from(layout.l3);
    let (true, Some(header)) = (mtu != 0, frame.data().get(l3..).and_then(<[u8]>::first_chunk::<8>)) else {
        return Fit::Fits;
    };
    let is_v4 = match key.marks().l3 {
        L3::Ipv4 => true,
        L3::Ipv6 => false,
        L3::Other | L3::Malformed => return Fit::Fits,
    };
    // What its state says wrongly is dropped by the output stage.
    let Ok(state) = frame.offload() else { return Fit::Fits };
    let length = match state.gso {
        Some(_) => match segment::longest(frame) {
            Ok(longest) => longest as usize - l3,
            Err(_) => return Fit::Fits,
        },
        None => {
            // What is behind the packet is padding. (Zero is a jumbogram.)
            let said = |bytes: [u8; 2]| usize::from(u16::from_be_bytes(bytes));
            let (said, more) =
                if is_v4 { (said([header[2], header[3]]), 0) } else { (said([header[4], header[5]]), 40) };
            let there = frame.len() as usize - l3;
            if said == 0 { there } else { there.min(said + more) }
        }
    };
    match length <= usize::from(mtu) {
        true => Fit::Fits,
        false if !is_v4 || header[6] & DONT_FRAGMENT != 0 => Fit::TooBig,
        false => smaller_segments(mtu, state, length).map_or(Fit::Fragments, Fit::Segments),
    }
}

/// A large TCP send, whose segments have `length` bytes from the IP header on, needs no fragments: it can be cut smaller.
fn smaller_segments(mtu: u16, state: Offload, length: usize) -> Option<Offload> {
    let gso = state.gso.filter(|gso| gso.kind == GsoKind::TcpV4)?;
    let headers = length.checked_sub(usize::from(gso.size))?;
    let size = usize::from(mtu).checked_sub(headers).filter(|size| *size > 0)?;
    Some(Offload { gso: Some(Gso { size: size as u16, ..gso }), ..state })
}

impl Forwarder {
    /// Makes a packet fit; `None` when it has gone another way than `actions` says.
    #[inline(never)]
    pub(super) fn fit(
        &mut self,
        scene: &Scene<'_>,
        actions: &Actions,
        flow: &Flow,
        mut frame: Mbuf,
    ) -> Option<Mbuf> {
        if actions.edits.has(Edits::CLAMP_MSS) {
            clamp(scene, actions, flow, &mut frame);
        }
        match judge(actions.mtu, &flow.key, flow.layout, &frame) {
            Fit::Fits => return Some(frame),
            Fit::Segments(state) => match frame.set_offload(state) {
                Ok(()) => return Some(frame),
                Err(_) => scene.ours.drop(DropReason::BadOffload, 1),
            },
            Fit::Fragments => {
                if let Err(reason) = self.send_in_fragments(scene, actions, flow, frame) {
                    scene.ours.drop(reason, 1);
                }
            }
            Fit::TooBig => {
                scene.ours.drop(DropReason::TooBig, 1);
                self.answer(scene, flow, frame, |ingress, data| {
                    Reply::error(icmp::Error::TooBig(actions.mtu), ingress, &flow.key, flow.layout, data)
                });
            }
        }
        None
    }

    /// Edits the packet, cuts it, and sends each fragment with the outer headers that `actions` gives it.
    #[cold]
    fn send_in_fragments(
        &mut self,
        scene: &Scene<'_>,
        actions: &Actions,
        flow: &Flow,
        mut frame: Mbuf,
    ) -> Result<(), DropReason> {
        let rewrites = scene.topology.rewrites();
        let inner = Actions { edits: actions.edits.without(Edits::OUTER), ..*actions };
        let outer = Actions { edits: actions.edits.only(Edits::OUTER), ..*actions };
        execute::edit(&inner, flow.layout, rewrites, &mut frame)?;
        let layout = Layout { l4: 0, ..flow.layout };
        cut(frame, usize::from(layout.l3), actions.mtu, self.pool, &mut |mut fragment| match execute::edit(
            &outer,
            layout,
            rewrites,
            &mut fragment,
        ) {
            Ok(()) => self.depart(scene, actions, flow, fragment),
            Err(reason) => scene.ours.drop(reason, 1),
        })
        .map_err(OffloadError::reason)
    }
}

/// Cuts the IPv4 packet `l3` bytes into `frame`; of a large send each datagram by itself.
fn cut(
    mut frame: Mbuf,
    l3: usize,
    mtu: u16,
    pool: Mempool,
    emit: &mut impl FnMut(Mbuf),
) -> Result<(), OffloadError> {
    if frame.offload()?.gso.is_none() {
        checksum::complete(&mut frame)?;
        return fragment(&frame, l3, mtu, pool, emit);
    }
    let can = EgressCapabilities { multi_segment: true, ..EgressCapabilities::default() };
    let mut outcome = Ok(());
    segment(&frame, pool, can, &mut |datagram| {
        // The last one may fit.
        if datagram.len() as usize <= l3 + usize::from(mtu) {
            emit(datagram);
        } else if let Err(error) = fragment(&datagram, l3, mtu, pool, emit) {
            outcome = Err(error);
        }
    })?;
    outcome
}

/// Lowers the maximum segment size that a SYN announces to what fits both networks (RFC 4459 section 3.2, RFC 6691).
fn clamp(scene: &Scene<'_>, actions: &Actions, flow: &Flow, frame: &mut Mbuf) {
    let l4 = usize::from(flow.layout.l4);
    if l4 == 0 || !tcp::is_syn(frame.data().get(l4..).unwrap_or_default()) {
        return;
    }
    let marks = flow.key.marks();
    let Ok(ingress) = Ingress::of(scene.topology, &flow.key) else { return };
    let Some(limit) =
        largest_segment(&ingress, actions, marks.l3).filter(|_| marks.fragment == Fragment::Whole)
    else {
        return;
    };
    let Ok(state) = frame.offload() else { return };
    let partial = matches!(state.checksum, shunt_ffi::offload::Checksum::Partial { .. });
    if let Some(header) = frame.data_mut().get_mut(l4..) {
        tcp::clamp_mss(header, limit, partial);
    }
}

/// MTU less the fixed headers (RFC 6691 section 2).
fn largest_segment(ingress: &Ingress<'_>, actions: &Actions, version: L3) -> Option<u16> {
    let headers = match version {
        L3::Ipv4 => 20 + 20,
        L3::Ipv6 => 40 + 20,
        L3::Other | L3::Malformed => return None,
    };
    let mtu = u32::from(ingress.network.mtu).min(actions.longest());
    u16::try_from(mtu).ok()?.checked_sub(headers)
}
