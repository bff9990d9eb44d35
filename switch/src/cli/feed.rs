//! What a call goes on telling, until there is no more or until the user has had enough (SIGINT, SIGTERM).

use tokio::signal;
use tokio::signal::unix::{Signal, SignalKind};
use tonic::Streaming;

use super::Failure;
use super::client::Client;

/// The messages of a call.
pub(super) struct Feed<T> {
    stream: Streaming<T>,
    terminate: Signal,
}

impl<T> Feed<T> {
    /// Of `stream`. From now on SIGTERM ends the feed and not the process.
    ///
    /// # Errors
    /// The system refuses the signal handler.
    pub(super) fn of(stream: Streaming<T>) -> Result<Self, Failure> {
        let terminate = signal::unix::signal(SignalKind::terminate())
            .map_err(|error| Failure::refused(format!("the system refused a signal handler: {error}")))?;
        Ok(Self { stream, terminate })
    }

    /// The next message; `None` at the end.
    ///
    /// # Errors
    /// What the daemon refused, or that it is gone.
    pub(super) async fn next(&mut self, client: &Client) -> Result<Option<T>, Failure> {
        let message = tokio::select! {
            message = self.stream.message() => message,
            _ = signal::ctrl_c() => return Ok(None),
            _ = self.terminate.recv() => return Ok(None),
        };
        client.unpack_next(message)
    }
}
