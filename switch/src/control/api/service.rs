//! The calls. Each runs one closure on the control thread and turns what comes back into a message.

use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

use super::capture;
use super::proto::switch_server::Switch;
use super::proto::trace_request::What;
use super::{connections, doctor, ping, proto, refusal, watch};
use crate::control::capture::SNAPLEN;
use crate::control::capture::filter::Filter;
use crate::control::flows::{FlowWalk, LIMIT};
use crate::control::picture::{Picture, PictureError};
use crate::control::trace::Frame;
use crate::control::trace::expression::Probe;
use crate::control::{Applied, ApplyError, Control, Handle};

/// Times that a dump of rules begins anew because networks or ports came or went meanwhile.
const RENUMBERED: usize = 5;

/// Refused flows that are shown when nobody says how many.
const REFUSALS: usize = 1_000;

/// Answers calls with what the control thread says.
#[derive(Clone, Debug)]
pub(super) struct Service {
    control: Handle,
}

impl Service {
    pub(super) fn new(control: Handle) -> Self {
        Self { control }
    }

    /// See [`ask`].
    async fn ask<R: Send + 'static>(
        &self,
        job: impl FnOnce(&mut Control) -> R + Send + 'static,
    ) -> Result<R, Status> {
        ask(&self.control, job).await
    }

    /// Runs a change on the control thread.
    async fn change(
        &self,
        change: impl FnOnce(&mut Control) -> Result<Applied, ApplyError> + Send + 'static,
    ) -> Result<Response<proto::Applied>, Status> {
        let applied = self.ask(change).await?.map_err(|error| refusal::apply(&error))?;
        Ok(Response::new(applied.into()))
    }

    /// Makes rows of the running tables, off the control thread and the runtime.
    async fn picture<R: Send + 'static>(
        &self,
        rows: impl FnOnce(Picture) -> Result<R, PictureError> + Send + 'static,
    ) -> Result<R, Status> {
        let picture = self.ask(|control| control.picture()).await?;
        let rows = tokio::task::spawn_blocking(move || rows(picture)).await;
        let rows = rows.map_err(|_| refusal::stopped(&crate::control::Stopped))?;
        rows.map_err(|error| refusal::picture(&error))
    }

    /// Collects rows on the control thread.
    async fn rows<Row: Send + 'static, Message: From<Row>>(
        &self,
        collect: impl FnOnce(&mut Control) -> Vec<Row> + Send + 'static,
    ) -> Result<Vec<Message>, Status> {
        Ok(self.ask(collect).await?.into_iter().map(Message::from).collect())
    }
}

/// Runs `job` on the control thread. A thread of the blocking pool waits for it; the runtime goes on.
pub(super) async fn ask<R: Send + 'static>(
    control: &Handle,
    job: impl FnOnce(&mut Control) -> R + Send + 'static,
) -> Result<R, Status> {
    let control = control.clone();
    match tokio::task::spawn_blocking(move || control.call(job)).await {
        Ok(answer) => answer.map_err(|stopped| refusal::stopped(&stopped)),
        // The runtime is being shut down, or the job panicked together with the control thread.
        Err(_) => Err(refusal::stopped(&crate::control::Stopped)),
    }
}

#[tonic::async_trait]
impl Switch for Service {
    async fn apply(&self, request: Request<proto::ApplyRequest>) -> Result<Response<proto::Applied>, Status> {
        let proto::ApplyRequest { toml, origin } = request.into_inner();
        // Parsing a large file takes time that is not the control thread's.
        let parsed = tokio::task::spawn_blocking(move || shunt_config::parse(&toml, &origin));
        let next = parsed.await.map_err(|_| refusal::stopped(&crate::control::Stopped))?;
        let next = next.map_err(|errors| refusal::config(&errors))?;
        self.change(move |control| control.reload(&next)).await
    }

    async fn apply_objects(
        &self,
        request: Request<proto::ApplyObjectsRequest>,
    ) -> Result<Response<proto::Applied>, Status> {
        let proto::ApplyObjectsRequest { yaml, origin } = request.into_inner();
        self.change(move |control| control.apply_objects(&yaml, &origin)).await
    }

    async fn delete_objects(
        &self,
        request: Request<proto::DeleteObjectsRequest>,
    ) -> Result<Response<proto::Applied>, Status> {
        let proto::DeleteObjectsRequest { yaml, origin, ignore_not_found } = request.into_inner();
        self.change(move |control| control.delete_objects(&yaml, &origin, ignore_not_found)).await
    }

    async fn add_port(
        &self,
        request: Request<proto::AddPortRequest>,
    ) -> Result<Response<proto::Applied>, Status> {
        let keys: Vec<_> = request.into_inner().keys.into_iter().map(|pair| (pair.key, pair.value)).collect();
        self.change(move |control| {
            let port = shunt_config::parse_port(&keys, control.config())?;
            control.add_port(port)
        })
        .await
    }

    async fn delete_port(
        &self,
        request: Request<proto::DeletePortRequest>,
    ) -> Result<Response<proto::Applied>, Status> {
        let name = request.into_inner().name;
        self.change(move |control| control.remove_port(&name)).await
    }

    async fn set_port(
        &self,
        request: Request<proto::SetPortRequest>,
    ) -> Result<Response<proto::Applied>, Status> {
        let proto::SetPortRequest { name, up } = request.into_inner();
        self.change(move |control| control.set_port(&name, up)).await
    }

    async fn reset_port(
        &self,
        request: Request<proto::ResetPortRequest>,
    ) -> Result<Response<proto::Applied>, Status> {
        let name = request.into_inner().name;
        self.change(move |control| control.reset_port(&name)).await
    }

    async fn resync(&self, _: Request<proto::ResyncRequest>) -> Result<Response<proto::Resynced>, Status> {
        let resynced = self.ask(|control| control.resync()).await?;
        Ok(Response::new(resynced.into()))
    }

    async fn diagnose(
        &self,
        request: Request<proto::DiagnoseRequest>,
    ) -> Result<Response<proto::Diagnosis>, Status> {
        Ok(Response::new(doctor::diagnose(&self.control, request.into_inner()).await?))
    }

    async fn show_ports(
        &self,
        _: Request<proto::ShowPortsRequest>,
    ) -> Result<Response<proto::Ports>, Status> {
        let ports = self.rows(|control| control.ports()).await?;
        Ok(Response::new(proto::Ports { ports }))
    }

    async fn show_fdb(
        &self,
        request: Request<proto::ShowFdbRequest>,
    ) -> Result<Response<proto::Fdb>, Status> {
        let network = request.into_inner().network;
        let mut entries: Vec<proto::FdbEntry> = self.rows(|control| control.fdb()).await?;
        if !network.is_empty() {
            entries.retain(|entry| entry.network == network);
        }
        Ok(Response::new(proto::Fdb { entries }))
    }

    async fn show_workers(
        &self,
        _: Request<proto::ShowWorkersRequest>,
    ) -> Result<Response<proto::Workers>, Status> {
        let workers = self.rows(|control| control.workers()).await?;
        Ok(Response::new(proto::Workers { workers }))
    }

    async fn show_topology(
        &self,
        _: Request<proto::ShowTopologyRequest>,
    ) -> Result<Response<proto::Topology>, Status> {
        let topology = self.ask(|control| control.topology()).await?;
        Ok(Response::new(topology.into()))
    }

    async fn show_drops(
        &self,
        _: Request<proto::ShowDropsRequest>,
    ) -> Result<Response<proto::Drops>, Status> {
        let drops = self.rows(|control| control.drops()).await?;
        Ok(Response::new(proto::Drops { drops }))
    }

    async fn show_bonds(
        &self,
        _: Request<proto::ShowBondsRequest>,
    ) -> Result<Response<proto::Bonds>, Status> {
        let bonds = self.rows(|control| control.bonds()).await?;
        Ok(Response::new(proto::Bonds { bonds }))
    }

    async fn show_refusals(
        &self,
        request: Request<proto::ShowRefusalsRequest>,
    ) -> Result<Response<proto::Refusals>, Status> {
        let limit = request.into_inner().limit as usize;
        let mut walk = FlowWalk::refused(if limit == 0 { REFUSALS } else { limit });
        while !walk.is_done() {
            let step = self.ask(move |control| control.walk_flows(walk)).await?;
            walk = step.map_err(|error| refusal::flows(&error))?;
        }
        let refusals = self.rows(move |control| control.refusals(walk)).await?;
        Ok(Response::new(proto::Refusals { refusals }))
    }

    async fn show_policies(
        &self,
        _: Request<proto::ShowPoliciesRequest>,
    ) -> Result<Response<proto::Policies>, Status> {
        let policies = self.rows(|control| control.policies()).await?;
        Ok(Response::new(proto::Policies { policies }))
    }

    async fn show_generations(
        &self,
        _: Request<proto::ShowGenerationsRequest>,
    ) -> Result<Response<proto::Generations>, Status> {
        let generations = self.rows(|control| control.generations()).await?;
        Ok(Response::new(proto::Generations { generations }))
    }

    async fn dump_flows(
        &self,
        request: Request<proto::DumpFlowsRequest>,
    ) -> Result<Response<proto::Flows>, Status> {
        let proto::DumpFlowsRequest { port, limit } = request.into_inner();
        let limit = if limit == 0 { LIMIT } else { limit as usize };
        let mut walk = FlowWalk::new(limit, (!port.is_empty()).then_some(port));
        while !walk.is_done() {
            let step = self.ask(move |control| control.walk_flows(walk)).await?;
            walk = step.map_err(|error| refusal::flows(&error))?;
        }
        let names = self.ask(|control| control.names()).await?;
        let more = walk.more();
        let flows = walk.rows(&names).into_iter().map(Into::into).collect();
        Ok(Response::new(proto::Flows { flows, more }))
    }

    async fn show_routes(
        &self,
        request: Request<proto::ShowRoutesRequest>,
    ) -> Result<Response<proto::Routes>, Status> {
        let proto::ShowRoutesRequest { router, address } = request.into_inner();
        let address: Option<std::net::IpAddr> = match address.as_str() {
            "" => None,
            text => Some(text.parse().map_err(|_| {
                Status::invalid_argument(format!(
                    "{text:?} is no IP address; write one as 10.0.0.1 or fd00::1"
                ))
            })?),
        };
        let rows = self.picture(move |picture| match address {
            None => picture.routes(&router),
            Some(address) => picture.route_to(&router, address).map(|route| vec![route]),
        });
        let routes = rows.await?.into_iter().map(Into::into).collect();
        Ok(Response::new(proto::Routes { routes }))
    }

    async fn show_neighbors(
        &self,
        request: Request<proto::ShowNeighborsRequest>,
    ) -> Result<Response<proto::Neighbors>, Status> {
        let network = request.into_inner().network;
        let rows = self.picture(move |picture| picture.neighbors(&network)).await?;
        Ok(Response::new(proto::Neighbors { neighbors: rows.into_iter().map(Into::into).collect() }))
    }

    async fn show_connections(
        &self,
        request: Request<proto::ShowConnectionsRequest>,
    ) -> Result<Response<proto::Connections>, Status> {
        let proto::ShowConnectionsRequest { filter, from } = request.into_inner();
        let which = connections::which(filter)?;
        let from = usize::try_from(from).unwrap_or(usize::MAX);
        let (rows, next) = self.ask(move |control| control.connections(&which, from)).await?;
        let connections = rows.into_iter().map(Into::into).collect();
        Ok(Response::new(proto::Connections { connections, next: next.map(|next| next as u64) }))
    }

    async fn show_services(
        &self,
        request: Request<proto::ShowServicesRequest>,
    ) -> Result<Response<proto::Services>, Status> {
        let proto::ShowServicesRequest { name, from } = request.into_inner();
        let from = usize::try_from(from).unwrap_or(usize::MAX);
        let (rows, next) = self.ask(move |control| control.service_rows(&name, from)).await?;
        Ok(Response::new(proto::Services { services: rows, next: next.map(|next| next as u64) }))
    }

    async fn end_connections(
        &self,
        request: Request<proto::EndConnectionsRequest>,
    ) -> Result<Response<proto::EndedConnections>, Status> {
        let which = connections::which(request.into_inner().filter)?;
        let (mut from, mut count) = (Some(0), 0);
        while let Some(start) = from {
            let which = which.clone();
            let (ended, next) = self.ask(move |control| control.end_connections(&which, start)).await?;
            (from, count) = (next, count + ended as u64);
        }
        Ok(Response::new(proto::EndedConnections { count }))
    }

    type WatchConnectionsStream = ReceiverStream<Result<proto::ConnectionEvents, Status>>;

    async fn watch_connections(
        &self,
        request: Request<proto::WatchConnectionsRequest>,
    ) -> Result<Response<Self::WatchConnectionsStream>, Status> {
        let which = connections::which(request.into_inner().filter)?;
        let watch = self.ask(|control| control.watch_connections()).await?;
        let watch = watch.map_err(|error| Status::failed_precondition(error.to_string()))?;
        Ok(Response::new(watch::stream(self.control.clone(), watch, which)))
    }

    async fn show_connection_statistics(
        &self,
        _: Request<proto::ShowConnectionStatisticsRequest>,
    ) -> Result<Response<proto::ConnectionStatistics>, Status> {
        let statistics = self.ask(|control| control.connection_statistics()).await?;
        Ok(Response::new(statistics.into()))
    }

    async fn dump_rules(
        &self,
        request: Request<proto::DumpRulesRequest>,
    ) -> Result<Response<proto::Rules>, Status> {
        let proto::DumpRulesRequest { network, table } = request.into_inner();
        let table = match table.map(u8::try_from) {
            None => None,
            Some(Ok(table)) => Some(table),
            Some(Err(_)) => return Ok(Response::new(proto::Rules::default())),
        };
        let mut before = self.ask(|control| control.picture()).await?;
        for _ in 0..RENUMBERED {
            let mut walk = FlowWalk::counting();
            while !walk.is_done() {
                let step = self.ask(move |control| control.walk_flows(walk)).await?;
                walk = step.map_err(|error| refusal::flows(&error))?;
            }
            let mut uses = walk.into_uses();
            let (after, age, uses) = self
                .ask(move |control| {
                    control.count_sent(&mut uses);
                    (control.picture(), control.topology_age(), uses)
                })
                .await?;
            // What was counted by numbers that mean something else now would be said of the wrong rules.
            if !after.numbers_as(&before) {
                before = after;
                continue;
            }
            let generation = after.generation;
            let composed = tokio::task::spawn_blocking(move || after.rules(&network, table, &uses, age));
            let rules = composed.await.map_err(|_| refusal::stopped(&crate::control::Stopped))?;
            let rules = rules.map_err(|error| refusal::picture(&error))?;
            let rules = rules.into_iter().map(Into::into).collect();
            return Ok(Response::new(proto::Rules { rules, generation }));
        }
        Err(Status::failed_precondition("the configuration changes faster than it can be read; try again"))
    }

    type CaptureStream = ReceiverStream<Result<proto::Captured, Status>>;

    async fn capture(
        &self,
        request: Request<proto::CaptureRequest>,
    ) -> Result<Response<Self::CaptureStream>, Status> {
        let proto::CaptureRequest { port, filter, snaplen } = request.into_inner();
        let filter = Filter::parse(&filter).map_err(|error| Status::invalid_argument(error.to_string()))?;
        let snaplen = if snaplen == 0 { SNAPLEN } else { snaplen as usize };
        let session = self.ask(move |control| control.start_capture(&port, snaplen)).await?;
        let session = session.map_err(|error| refusal::capture(&error))?;
        Ok(Response::new(capture::stream(self.control.clone(), session, filter)))
    }

    type PingStream = ReceiverStream<Result<proto::PingEvent, Status>>;

    async fn ping(&self, request: Request<proto::PingRequest>) -> Result<Response<Self::PingStream>, Status> {
        let request = request.into_inner();
        let pace = ping::Pace::of(&request).map_err(Status::invalid_argument)?;
        let proto::PingRequest { from, address, size, .. } = request;
        let target = address.parse().map_err(|_| {
            Status::invalid_argument(format!(
                "{address:?} is no IP address; write one as 10.0.0.1 or fd00::1"
            ))
        })?;
        let started = self.ask(move |control| control.start_ping(&from, target, size as usize)).await?;
        let started = started.map_err(|error| refusal::ping(&error))?;
        Ok(Response::new(ping::stream(self.control.clone(), started, pace)))
    }

    async fn trace(&self, request: Request<proto::TraceRequest>) -> Result<Response<proto::Traced>, Status> {
        let proto::TraceRequest { port, what, network } = request.into_inner();
        let frame = match what {
            Some(What::Expression(text)) => {
                Frame::Made(Probe::parse(&text).map_err(|error| refusal::trace(&error.into()))?)
            }
            Some(What::Raw(bytes)) => Frame::Raw(bytes),
            None => return Err(Status::invalid_argument("a trace wants an expression or a frame; give one")),
        };
        let traced = self.ask(move |control| control.trace(&port, frame)).await?;
        let traced = traced.map_err(|error| refusal::trace(&error))?;
        if !network.is_empty() && traced.network != network {
            let (port, is) = (&traced.port, &traced.network);
            return Err(Status::invalid_argument(format!(
                "port {port} is in network {is}, not in {network:?}; leave the network out"
            )));
        }
        Ok(Response::new(traced.into()))
    }

    async fn get_config(
        &self,
        _: Request<proto::GetConfigRequest>,
    ) -> Result<Response<proto::ConfigText>, Status> {
        let toml = self.ask(|control| control.config().to_toml()).await?;
        Ok(Response::new(proto::ConfigText { toml }))
    }

    async fn health(&self, _: Request<proto::HealthRequest>) -> Result<Response<proto::Healthy>, Status> {
        let (topology, ports) = self.ask(|control| (control.topology(), control.ports())).await?;
        let count = |ports: usize| u32::try_from(ports).unwrap_or(u32::MAX);
        Ok(Response::new(proto::Healthy {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            generation: topology.generation,
            uptime: topology.uptime,
            ports: count(ports.len()),
            ports_failed: count(ports.iter().filter(|port| port.admin_up && !port.oper_up).count()),
        }))
    }
}
