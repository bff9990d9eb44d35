//! What happens to connections as a stream of messages.
//!
//! A task of the interface's runtime empties the queue every few milliseconds. A reader that is too slow holds up this task and
//! nobody else: the queue fills, and who makes the changes counts what finds no room. When the reader goes away the watch ends.

use std::time::Duration;

use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

use super::proto;
use crate::control::{Handle, Watch, Which};
use crate::state::Change;

/// How often the queue is looked into.
const EVERY: Duration = Duration::from_millis(5);
/// Events in a message at most, and messages that may wait for the reader.
const BATCH: usize = 256;
const WAITING: usize = 4;

/// Streams `watch` to its reader.
pub(super) fn stream(
    control: Handle,
    watch: Watch,
    which: Which,
) -> ReceiverStream<Result<proto::ConnectionEvents, Status>> {
    let (send, receive) = mpsc::channel(WAITING);
    tokio::spawn(async move {
        follow(&watch, &which, &send).await;
        // A daemon that is stopping watches nothing any more.
        let _ =
            tokio::task::spawn_blocking(move || control.call(move |control| control.end_watch(&watch))).await;
    });
    ReceiverStream::new(receive)
}

/// Until the reader has gone.
async fn follow(watch: &Watch, which: &Which, send: &mpsc::Sender<Result<proto::ConnectionEvents, Status>>) {
    let mut every = tokio::time::interval(EVERY);
    every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut told = 0;
    loop {
        tokio::select! {
            () = send.closed() => return,
            _ = every.tick() => {}
        }
        // As long as there is more than a message holds there is no need to wait.
        loop {
            let mut taken = 0;
            let mut events = Vec::new();
            while taken < BATCH
                && let Some((change, row)) = watch.next()
            {
                taken += 1;
                if which.has(&row.connection.original) {
                    let change = match change {
                        Change::New => "new",
                        Change::Update => "update",
                        Change::Destroy => "destroy",
                    };
                    events.push(proto::ConnectionEvent {
                        change: change.to_owned(),
                        connection: Some(row.into()),
                    });
                }
            }
            let lost = watch.lost();
            if !events.is_empty() || lost != told {
                told = lost;
                if send.send(Ok(proto::ConnectionEvents { events, lost })).await.is_err() {
                    return;
                }
            }
            if taken < BATCH {
                break;
            }
        }
    }
}
