//! The thread that serves the control interface.

use std::io;
use std::os::unix::net::UnixListener;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};
use tokio::sync::oneshot;
use tokio_stream::wrappers::UnixListenerStream;
use tonic::transport::Server;

use super::proto::switch_server::SwitchServer;
use super::service::Service;
use super::socket::{Socket, SocketFile};
use crate::control::Handle;

/// Longest request, bytes: a configuration of the largest size that a file may have (16 MiB), and its origin.
const LONGEST_REQUEST: usize = 17 << 20;
/// Calls that wait for the control thread at a time; more wait for one of these.
const WAITING_CALLS: usize = 16;
/// How long a call under way may take to end when the daemon stops.
const LAST_CALLS: Duration = Duration::from_secs(2);

/// Why the interface is not served.
#[derive(Debug, thiserror::Error)]
#[error("the system refused {what} for the control interface: {source}")]
pub struct ServeError {
    what: &'static str,
    source: io::Error,
}

/// The control interface, served by a thread of its own until [`ApiServer::stop`] or drop.
#[derive(Debug)]
pub struct ApiServer {
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl ApiServer {
    /// Serves `socket` with answers from `control`.
    ///
    /// # Errors
    /// When the system refuses a thread or a descriptor.
    pub fn start(socket: Socket, control: Handle) -> Result<Self, ServeError> {
        let refused = |what| move |source| ServeError { what, source };
        let runtime = Builder::new_current_thread()
            .enable_io()
            .enable_time()
            .max_blocking_threads(WAITING_CALLS)
            .thread_name("shunt-api-call")
            .build()
            .map_err(refused("a runtime"))?;
        let (stop, stopped) = oneshot::channel();
        let (listener, file) = socket.into_parts();
        let thread = std::thread::Builder::new()
            .name("shunt-api".into())
            .spawn(move || serve(runtime, listener, file, control, stopped))
            .map_err(refused("a thread"))?;
        Ok(Self { stop: Some(stop), thread: Some(thread) })
    }

    /// Takes no more calls, lets those under way end, and removes the socket file.
    pub fn stop(self) {
        drop(self);
    }
}

impl Drop for ApiServer {
    fn drop(&mut self) {
        if let Some(stop) = self.stop.take() {
            // It fails when the thread has ended already.
            let _ = stop.send(());
        }
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the thread of the control interface panicked");
        }
    }
}

/// The body of the thread.
fn serve(
    runtime: Runtime,
    listener: UnixListener,
    file: SocketFile,
    control: Handle,
    stopped: oneshot::Receiver<()>,
) {
    let service = SwitchServer::new(Service::new(control)).max_decoding_message_size(LONGEST_REQUEST);
    runtime.block_on(async {
        let listener = match tokio::net::UnixListener::from_std(listener) {
            Ok(listener) => listener,
            Err(error) => return tracing::error!(%error, "the control interface is not served"),
        };
        let (end, ending) = oneshot::channel();
        let incoming = UnixListenerStream::new(listener);
        let serving = Server::builder().add_service(service).serve_with_incoming_shutdown(incoming, async {
            let _ = stopped.await;
            let _ = end.send(());
        });
        // A client that keeps its connection open must not keep the daemon from stopping.
        let overdue = async {
            let _ = ending.await;
            tokio::time::sleep(LAST_CALLS).await;
        };
        tokio::select! {
            served = serving => if let Err(error) = served {
                tracing::error!(%error, "the control interface ended");
            },
            () = overdue => tracing::warn!("calls of the control interface were cut off"),
        }
    });
    // A call that still waits is answered by the control thread's end.
    runtime.shutdown_background();
    drop(file);
}
