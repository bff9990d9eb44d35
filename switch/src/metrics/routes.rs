//! What is answered to which path.
//!
//! The control thread is asked by a closure whose result is waited for so long and no longer: one that hangs must not make scrapers
//! and probes hang, nor pile their questions up before it.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::header::{ACCEPT, CONTENT_TYPE};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tokio::sync::Semaphore;

use super::page::{self, Format};
use crate::control::sample::Readiness;
use crate::control::{Control, Handle};

/// How long the control thread may take: Kubernetes' probes wait for one second, unless told otherwise.
const PATIENCE: Duration = Duration::from_millis(900);
/// The same for a scrape, which Prometheus gives up after ten seconds, unless told otherwise.
const SCRAPE_PATIENCE: Duration = Duration::from_secs(8);
/// Questions to the control thread at a time.
const QUESTIONS: usize = 4;

const TEXT: &str = "text/plain; charset=utf-8";

/// Asks the control thread.
#[derive(Clone, Debug)]
struct Asker {
    control: Handle,
    /// A place is taken until the control thread has come to the question, also when nobody waits for the answer any more.
    places: Arc<Semaphore>,
}

impl Asker {
    /// What `job` returns; `None` when the control thread does not come to it within `patience`.
    async fn ask<R: Send + 'static>(
        &self,
        patience: Duration,
        job: impl FnOnce(&mut Control) -> R + Send + 'static,
    ) -> Option<R> {
        let answer = async {
            let place = self.places.clone().acquire_owned().await.ok()?;
            let answer = self.control.later(move |control| {
                let _place = place;
                job(control)
            });
            answer.ok()?.await.ok()
        };
        tokio::time::timeout(patience, answer).await.ok().flatten()
    }
}

/// The three paths.
pub(super) fn router(control: Handle) -> Router {
    let asker = Asker { control, places: Arc::new(Semaphore::new(QUESTIONS)) };
    Router::new()
        .route("/metrics", get(metrics))
        .route("/healthz", get(health))
        .route("/readyz", get(ready))
        .fallback(nothing)
        .with_state(asker)
}

async fn nothing() -> Response {
    (StatusCode::NOT_FOUND, [(CONTENT_TYPE, TEXT)], "there are /metrics, /healthz and /readyz\n")
        .into_response()
}

fn hangs(patience: Duration) -> Response {
    let text = format!("the control thread has not answered within {} ms\n", patience.as_millis());
    (StatusCode::SERVICE_UNAVAILABLE, [(CONTENT_TYPE, TEXT)], text).into_response()
}

async fn metrics(State(asker): State<Asker>, headers: HeaderMap) -> Response {
    let accepted = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let format = Format::of(accepted);
    let Some(sample) = asker.ask(SCRAPE_PATIENCE, Control::sample).await else {
        return hangs(SCRAPE_PATIENCE);
    };
    match page::write(sample, format) {
        Ok(text) => ([(CONTENT_TYPE, format.content_type())], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")).into_response(),
    }
}

async fn health(State(asker): State<Asker>) -> Response {
    match asker.ask(PATIENCE, |_| ()).await {
        Some(()) => ([(CONTENT_TYPE, TEXT)], "ok\n").into_response(),
        None => hangs(PATIENCE),
    }
}

async fn ready(State(asker): State<Asker>) -> Response {
    match asker.ask(PATIENCE, Control::readiness).await {
        Some(readiness) => {
            let status = if readiness.live { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
            (status, [(CONTENT_TYPE, TEXT)], told(&readiness)).into_response()
        }
        None => hangs(PATIENCE),
    }
}

/// A line about the topology, then one for each port that is down.
fn told(readiness: &Readiness) -> String {
    let Readiness { live, generation, workers, down } = readiness;
    let state = if *live { "ready" } else { "not ready: no topology is in force on all workers yet" };
    let mut text = format!("{state}: generation {generation}, workers: {workers}\n");
    for (port, why) in down {
        // A reason has one line; whatever a driver says, it stays one.
        text.push_str(&format!("port {port} is down: {}\n", why.replace('\n', " ")));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_that_are_down_are_named_one_a_line() {
        let down = vec![("a".to_owned(), "no device\nof that name".to_owned())];
        let mut readiness = Readiness { live: true, generation: 3, workers: 2, down };
        let text = "ready: generation 3, workers: 2\nport a is down: no device of that name\n";
        assert_eq!(told(&readiness), text);
        readiness.live = false;
        assert!(told(&readiness).starts_with("not ready: no topology is in force on all workers yet: "));
    }
}
