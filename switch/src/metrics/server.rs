//! The thread that serves metrics. Bounds: so many connections at a time, each with so long to say what it wants and to live; more
//! wait to be accepted.

use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use super::endpoint::{Bound, Endpoint};
use super::routes;
use crate::control::Handle;
use crate::control::api::socket::SocketFile;

/// Connections at a time: a few scrapers and probes.
const CONNECTIONS: usize = 64;
/// How long a client may take for its request's header, and be silent between two: longer than scrapes are apart.
const PATIENCE: Duration = Duration::from_secs(90);
/// How long a connection lives; it ends behind the answer that it is in then.
const LIFE: Duration = Duration::from_secs(600);
/// How long a client may take to read that answer.
const LAST_ANSWER: Duration = Duration::from_secs(10);
/// Bytes of a request at most, and of an answer that waits to be read.
const BUFFER: usize = 16 << 10;
/// Pause after the system refused a connection: it has no descriptor left, most often.
const REFUSED_PAUSE: Duration = Duration::from_millis(100);

/// Why metrics are not served.
#[derive(Debug, thiserror::Error)]
#[error("the system refused {what} for metrics: {source}")]
pub struct ServeError {
    what: &'static str,
    source: io::Error,
}

/// The server, on a thread of its own until [`MetricsServer::stop`] or drop.
#[derive(Debug)]
pub struct MetricsServer {
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl MetricsServer {
    /// Serves at `endpoint` what `control` says.
    ///
    /// # Errors
    /// When the system refuses a thread or a descriptor.
    pub fn start(endpoint: Endpoint, control: Handle) -> Result<Self, ServeError> {
        let refused = |what| move |source| ServeError { what, source };
        let runtime =
            Builder::new_current_thread().enable_io().enable_time().build().map_err(refused("a runtime"))?;
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::Builder::new()
            .name("shunt-metrics".into())
            .spawn(move || serve(&runtime, endpoint, control, stopped))
            .map_err(refused("a thread"))?;
        Ok(Self { stop: Some(stop), thread: Some(thread) })
    }

    /// Takes no more requests; those under way are cut off. Removes the socket file.
    pub fn stop(self) {
        drop(self);
    }
}

impl Drop for MetricsServer {
    fn drop(&mut self) {
        if let Some(stop) = self.stop.take() {
            // It fails when the thread has ended already.
            let _ = stop.send(());
        }
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the thread that serves metrics panicked");
        }
    }
}

/// A listener of either kind.
enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener, #[expect(dead_code, reason = "removes the file when dropped")] SocketFile),
}

/// The body of the thread.
fn serve(runtime: &Runtime, endpoint: Endpoint, control: Handle, stopped: oneshot::Receiver<()>) {
    runtime.block_on(async {
        let listener = match endpoint.0 {
            Bound::Tcp(listener) => TcpListener::from_std(listener).map(Listener::Tcp),
            Bound::Unix(socket) => {
                let (listener, file) = socket.into_parts();
                UnixListener::from_std(listener).map(|listener| Listener::Unix(listener, file))
            }
        };
        let listener = match listener {
            Ok(listener) => listener,
            Err(error) => return tracing::error!(%error, "metrics are not served"),
        };
        let router = routes::router(control);
        tokio::select! {
            () = accept(&listener, &router) => {}
            _ = stopped => {}
        }
    });
}

/// Takes connections, for ever.
async fn accept(listener: &Listener, router: &Router) {
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        // Nobody closes it.
        let Ok(place) = places.clone().acquire_owned().await else { return };
        let router = router.clone();
        let accepted = match listener {
            Listener::Tcp(listener) => {
                listener.accept().await.map(|(stream, _)| tokio::spawn(converse(stream, router, place)))
            }
            Listener::Unix(listener, _) => {
                listener.accept().await.map(|(stream, _)| tokio::spawn(converse(stream, router, place)))
            }
        };
        if let Err(error) = accepted {
            tracing::debug!(%error, "a connection for metrics was not accepted");
            tokio::time::sleep(REFUSED_PAUSE).await;
        }
    }
}

/// Answers the requests of one connection until it ends; it has its place until then.
async fn converse(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    router: Router,
    _place: OwnedSemaphorePermit,
) {
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(PATIENCE).max_buf_size(BUFFER);
    let connection = http.serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    let mut connection = pin!(connection);
    // How a connection ends is its client's business.
    tokio::select! {
        _ = &mut connection => {}
        () = tokio::time::sleep(LIFE) => {
            connection.as_mut().graceful_shutdown();
            let _ = tokio::time::timeout(LAST_ANSWER, connection).await;
        }
    }
}
