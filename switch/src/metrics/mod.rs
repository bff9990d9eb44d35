//! Counters and health over HTTP, for Prometheus and for Kubernetes' probes (`[metrics]`, docs/metrics.md).
//!
//! A thread of its own takes requests. What it needs of the switch is one closure on the control thread ([`Sample`]): the rows of
//! `shunt show`, so there is one source and two ways to write it down. Workers are asked nothing; their counters are read.
//!
//! | file | holds |
//! |---|---|
//! | `endpoint` | the address or socket, taken before the switch starts |
//! | `server` | the thread, connections and their bounds |
//! | `routes` | what is answered to which path |
//! | `page` | a sample as OpenMetrics or Prometheus text |
//!
//! [`Sample`]: crate::control::sample::Sample

mod endpoint;
pub mod page;
mod routes;
mod server;

pub use endpoint::{Endpoint, EndpointError};
pub use server::{MetricsServer, ServeError};
