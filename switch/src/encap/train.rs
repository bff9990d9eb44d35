//! Trains: the datagrams of a tunnel that one large send becomes, in one frame (ADR 8).
//!
//! A large TCP or UDP send that goes into a tunnel over UDP is cut inside, each piece with its checksum, and all pieces are put
//! one behind the other, each with a tunnel header of its own, behind *one* outer header: a large UDP send
//! (`VIRTIO_NET_HDR_GSO_UDP_L4`, `UDP_SEGMENT` in udp(7)), which a kernel's device takes and hands on whole, and cuts into
//! exactly the tunnel packets there would have been where the path must. Made of it again by [`join`] at the far end.
//!
//! ```text
//! | Ethernet, IP, UDP | tunnel | inner headers | payload || tunnel | inner headers | payload || ...
//! ```
//! Cost: that of cutting ([`crate::offload::segment`]), and one outer header for up to [`MAX_BUFFERS`] pieces.

pub mod join;

use shunt_ffi::offload::{Checksum, Gso, GsoKind, Offload, UDP_CHECKSUM};
use shunt_ffi::{Chain, Mbuf, Mempool};

use super::ecn;
use super::template::Template;
use crate::drop::DropReason;
use crate::offload::EgressCapabilities;
use crate::offload::segment::segment;

/// Buffers of a train at most, so that a kernel port takes it ([`shunt_ffi::kernel::MAX_SEGMENTS`]). A piece that fits a
/// buffer takes one.
pub const MAX_BUFFERS: u16 = 64;

/// Puts the large send `frame` into the tunnel of `template` and gives the trains to `emit`, in order: mostly one or two.
/// A train of one piece is a plain tunnel packet.
///
/// `entropy` as in [`Template::push`]; the pieces' buffers come from `pool`.
///
/// # Errors
/// As [`segment`] and [`Template::push`]. What was emitted before stays emitted.
pub fn wrap(
    frame: &Mbuf,
    template: &Template,
    entropy: u16,
    pool: Mempool,
    emit: &mut impl FnMut(Mbuf),
) -> Result<(), DropReason> {
    let header = template.tunnel_header();
    let way = Way { template, entropy, class: ecn::traffic_class(frame.data()) };
    let mut train: Option<Train> = None;
    let mut outcome = Ok(());
    let can = EgressCapabilities { multi_segment: true, ..EgressCapabilities::default() };
    let cut = segment(frame, pool, can, &mut |piece| {
        if outcome.is_err() {
            return;
        }
        let is_full = train.as_ref().is_some_and(|train| !train.has_room(&piece, header.len(), template));
        if is_full && let Some(train) = train.take() {
            outcome = way.send(train, emit);
        }
        let joined = match &mut train {
            Some(train) => train.append(piece, header),
            None => {
                train = Some(Train::new(piece));
                Ok(())
            }
        };
        outcome = outcome.and(joined);
    });
    cut.map_err(crate::offload::OffloadError::reason)?;
    outcome?;
    train.map_or(Ok(()), |train| way.send(train, emit))
}

/// The outer headers of one large send.
struct Way<'t> {
    template: &'t Template,
    entropy: u16,
    class: u8,
}

impl Way<'_> {
    fn send(&self, train: Train, emit: &mut impl FnMut(Mbuf)) -> Result<(), DropReason> {
        let size = train.size + self.template.tunnel_header().len() as u32;
        let mut frame = train.chain.into_frame();
        if train.pieces == 1 {
            self.template.push(self.entropy, &mut frame)?;
        } else {
            let size = u16::try_from(size).map_err(|_| DropReason::TooLong)?;
            let start = self.template.push_train(self.entropy, self.class, &mut frame)?;
            let checksum = Checksum::Partial { start, offset: UDP_CHECKSUM };
            let gso = Some(Gso { kind: GsoKind::Udp, size });
            frame.set_offload(Offload { checksum, gso }).map_err(|_| DropReason::BadOffload)?;
        }
        emit(frame);
        Ok(())
    }
}

/// Pieces one behind the other; the first is still without its tunnel header.
struct Train {
    chain: Chain,
    /// Bytes of the first piece. All others but the last are as long.
    size: u32,
    pieces: u16,
}

impl Train {
    fn new(first: Mbuf) -> Self {
        Self { size: first.len(), chain: Chain::new(first), pieces: 1 }
    }

    /// One more piece keeps within the buffers and within the length that an IP header can say.
    fn has_room(&self, piece: &Mbuf, header: usize, template: &Template) -> bool {
        let length = template.len() + self.chain.len() as usize + header + piece.len() as usize;
        self.chain.segment_count() + piece.segment_count() <= MAX_BUFFERS && length <= usize::from(u16::MAX)
    }

    fn append(&mut self, mut piece: Mbuf, header: &[u8]) -> Result<(), DropReason> {
        let room = piece.prepend(header.len() as u16).ok_or(DropReason::NoHeadroom)?;
        room.get_mut(..header.len()).ok_or(DropReason::NoHeadroom)?.copy_from_slice(header);
        self.pieces += 1;
        self.chain.append(piece).ok_or(DropReason::TooLong)
    }
}
