//! One frame on its way through the stages.

use std::net::IpAddr;

use shunt_ffi::Mbuf;

use crate::drop::DropReason;
use crate::wire::ethernet::{self, Header, Mac};

/// What a frame teaches the control thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Teach {
    /// Nothing new.
    Nothing,
    /// The source address is behind the ingress port.
    Source,
    /// An IP address belongs to a MAC address (and the source address is behind the ingress port).
    Neighbor(IpAddr, Mac),
}

/// A frame and what has been found out about it. Stages read `header`, write `frame` and `teach`.
#[derive(Debug)]
pub struct Packet<'f> {
    /// The frame itself.
    pub frame: &'f mut Mbuf,
    /// Its Ethernet header; a stage that rewrites the header in `frame` keeps this equal.
    pub header: Header,
    /// Seconds on the workers' clock.
    pub now: u32,
    /// What the control thread should learn from it.
    pub teach: Teach,
    /// Set when a stage gave the frame up and put something of its own in its place: the loss is counted.
    pub lost: Option<DropReason>,
}

impl<'f> Packet<'f> {
    /// Parses the Ethernet header.
    #[inline]
    pub fn parse(frame: &'f mut Mbuf, now: u32) -> Result<Self, DropReason> {
        let header = ethernet::parse(frame.data()).ok_or(DropReason::Runt)?;
        Ok(Self { frame, header, now, teach: Teach::Nothing, lost: None })
    }

    /// Gives the frame new addresses.
    pub fn set_addresses(&mut self, dst: Mac, src: Mac) {
        ethernet::set_addresses(self.frame.data_mut(), dst, src);
        self.header.dst = dst;
        self.header.src = src;
    }
}
