//! A capture as a stream of messages.
//!
//! A task of the interface's runtime empties the ring every few milliseconds, asks the filter, and sends what is left. A
//! reader that is too slow holds up this task and nobody else: the ring fills and the workers count what they lose. When the
//! reader goes away the workers are told to stop copying.

use std::time::Duration;

use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

use super::proto;
use crate::control::Handle;
use crate::control::capture::Session;
use crate::control::capture::filter::Filter;
use crate::control::capture::headers::Headers;
use crate::control::flows::words::Names;
use crate::worker::capture::{Copied, Point};

/// How often the ring is looked into.
const EVERY: Duration = Duration::from_millis(5);
/// Frames in a message at most, and messages that may wait for the reader.
const BATCH: usize = 128;
const WAITING: usize = 4;

/// Streams `session` to its reader.
pub(super) fn stream(
    control: Handle,
    session: Session,
    filter: Filter,
) -> ReceiverStream<Result<proto::Captured, Status>> {
    let (send, receive) = mpsc::channel(WAITING);
    tokio::spawn(async move {
        follow(&control, &session, &filter, &send).await;
        let id = session.id;
        // A daemon that is stopping has no captures any more.
        let _ =
            tokio::task::spawn_blocking(move || control.call(move |control| control.end_capture(id))).await;
    });
    ReceiverStream::new(receive)
}

/// Until the reader or the control thread has gone.
async fn follow(
    control: &Handle,
    session: &Session,
    filter: &Filter,
    send: &mpsc::Sender<Result<proto::Captured, Status>>,
) {
    let mut every = tokio::time::interval(EVERY);
    every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let Some(mut names) = ask_names(control).await else { return };
    let (mut filtered, mut told) = (0, (0, 0));
    loop {
        tokio::select! {
            () = send.closed() => return,
            _ = every.tick() => {}
        }
        // As long as there is more than a message holds there is no need to wait.
        loop {
            let mut frames = Vec::new();
            let mut taken = 0;
            while taken < BATCH
                && let Some(copied) = session.ring.take()
            {
                taken += 1;
                if filter.takes(&Headers::of(copied.bytes(), copied.length), copied.point) {
                    if !names.knows(copied.port.index()) {
                        let Some(newer) = ask_names(control).await else { return };
                        names = newer;
                    }
                    frames.push(message(session, &names, &copied));
                } else {
                    filtered += 1;
                }
                session.ring.give_back(copied);
            }
            let lost = session.ring.lost();
            // What was lost or left out is told even when no frame is.
            if !frames.is_empty() || told != (lost, filtered) {
                told = (lost, filtered);
                if send.send(Ok(proto::Captured { frames, lost, filtered })).await.is_err() {
                    return;
                }
            }
            if taken < BATCH {
                break;
            }
        }
    }
}

async fn ask_names(control: &Handle) -> Option<Names> {
    let control = control.clone();
    tokio::task::spawn_blocking(move || control.call(|control| control.names())).await.ok()?.ok()
}

fn message(session: &Session, names: &Names, copied: &Copied) -> proto::CapturedFrame {
    let (point, reason) = match copied.point {
        Point::Ingress => (proto::CapturePoint::Ingress, ""),
        Point::Egress => (proto::CapturePoint::Egress, ""),
        Point::Drop(reason) => (proto::CapturePoint::Drop, reason.name()),
    };
    proto::CapturedFrame {
        port: names.port(copied.port.index()),
        point: point.into(),
        reason: reason.to_owned(),
        time_ns: session.time(copied.tsc),
        length: copied.length,
        data: copied.bytes().to_vec(),
    }
}
