//! The control interface: gRPC over a Unix socket, as `proto/shunt.proto` describes it.
//!
//! A thread of its own runs a single-threaded tokio runtime. A call becomes a closure on the control thread; a blocking
//! thread waits for it, never the runtime, so a slow change does not keep anybody from asking for something else.
//!
//! | file | holds |
//! |---|---|
//! | [`socket`] | the socket: permissions, a dead daemon's left-over, a living daemon's claim |
//! | [`server`] | the thread, its start and its end |
//! | `service` | the calls |
//! | `capture`, `ping`, `watch` | those that stream |
//! | `connections` | connections as messages |
//! | `rows` | rows of [`status`](super::status) as messages |
//! | `refusal` | errors as gRPC statuses |

#[allow(missing_docs, unreachable_pub, clippy::all, reason = "generated code")]
pub mod proto {
    //! Messages, client and server, generated from `proto/shunt.proto`.
    tonic::include_proto!("shunt.v1");

    // JSON shows these two as pairs, as the rows of `control::status` do.
    impl From<QueuePlace> for (u32, u32) {
        fn from(place: QueuePlace) -> Self {
            (place.queue, place.worker)
        }
    }

    impl From<Mbufs> for (u32, u32) {
        fn from(mbufs: Mbufs) -> Self {
            (mbufs.total, mbufs.free)
        }
    }
}

mod capture;
mod connections;
mod doctor;
mod ping;
mod policies;
mod refusal;
mod rows;
pub mod server;
mod service;
pub mod socket;
mod watch;

pub use server::{ApiServer, ServeError};
pub use socket::{Socket, SocketError};
