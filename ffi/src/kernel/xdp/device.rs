//! Opening a `net_af_xdp` device with buffers of its own.

use std::io;

use super::pool::OwnPool;
use super::sockets::{Aftermath, DriverSocket, Sockets, XdpSocket};
use crate::eal::Eal;
use crate::ethdev::{EthDevice, EthError, EthOptions, Opened};

/// Buffers of a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Buffers {
    /// How many: those that the kernel keeps to fill, and frames under way.
    pub count: u32,
    /// Bytes of each, behind the headroom.
    pub room: u16,
}

/// Why a device did not open.
#[derive(Debug, thiserror::Error)]
pub enum XdpError {
    /// The driver refused.
    #[error(transparent)]
    Device(#[from] EthError),
    /// The process has no descriptor left, or no /proc.
    #[error("the sockets of the driver cannot be found: {0}; raise the limit on open files")]
    Sockets(#[from] io::Error),
}

/// An opened device.
#[derive(Debug)]
pub struct XdpOpened {
    /// Device and queues, as of any other.
    pub device: Opened,
    /// The driver's sockets, in no particular order.
    pub sockets: Vec<XdpSocket>,
}

/// Opens a device; `options.pool` is not used. When it is closed, its buffers and sockets are, too, which the driver
/// itself forgets. One device at a time: the sockets that come meanwhile are taken for this one's.
pub fn open(eal: Eal, options: &EthOptions, buffers: Buffers) -> Result<XdpOpened, XdpError> {
    let before = Sockets::mark()?;
    let pool = OwnPool::take(eal, buffers.count, buffers.room)
        .map_err(|source| EthError::Dpdk { devargs: options.devargs.clone(), source })?;
    let options = EthOptions { pool: pool.handle(), ..options.clone() };
    let opened = EthDevice::open(eal, &options);
    let sockets = before.since();
    let device = match opened {
        Ok(device) => device,
        Err(error) => {
            drop(Aftermath { sockets: sockets.unwrap_or_default(), pool: None });
            pool.discard();
            return Err(error.into());
        }
    };
    let (sockets, problem) = match sockets {
        Ok(sockets) => (sockets, None),
        Err(error) => (Vec::new(), Some(error)),
    };
    let share = |socket: &DriverSocket| socket.share(device.device.keep_open());
    let shared: io::Result<Vec<XdpSocket>> = sockets.iter().map(share).collect();
    device.device.after_close(Aftermath { sockets, pool: Some(pool) });
    match problem {
        Some(error) => Err(error.into()),
        None => Ok(XdpOpened { sockets: shared?, device }),
    }
}
