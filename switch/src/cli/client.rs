//! The connection to the daemon, and what its errors mean to the person who typed the command.

use std::io::{self, ErrorKind};
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use hyper_util::rt::TokioIo;
use nix::unistd::{Gid, Group, Uid, User};
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Response, Status, Streaming};

use super::Failure;
use crate::control::api::proto;
use crate::control::api::proto::switch_client::SwitchClient;

/// Longest answer taken, bytes. The largest MAC table of the largest configuration stays far below.
const LONGEST_ANSWER: usize = 1 << 30;
/// Longest header taken, bytes: mistakes of a configuration travel in one.
const LONGEST_HEADER: u32 = 256 << 10;

/// A connected client.
#[derive(Debug)]
pub struct Client {
    client: SwitchClient<Channel>,
    socket: PathBuf,
}

impl Client {
    /// Connects to the daemon that listens on `socket`.
    ///
    /// # Errors
    /// One line that says what to do, when nobody listens or this user may not connect.
    pub async fn connect(socket: &Path) -> Result<Self, Failure> {
        // Connected here, not by the connector, to see the system's own error.
        let stream = UnixStream::connect(socket).map_err(|error| unreachable(socket, &error))?;
        let stream = stream.set_nonblocking(true).and_then(|()| tokio::net::UnixStream::from_std(stream));
        let mut once = Some(stream.map_err(|error| unreachable(socket, &error))?);
        let connector = tower::service_fn(move |_| {
            let stream = once.take().map(TokioIo::new);
            async { stream.ok_or_else(|| io::Error::from(ErrorKind::ConnectionAborted)) }
        });
        let channel = Endpoint::from_static("http://shunt")
            .http2_max_header_list_size(LONGEST_HEADER)
            .connect_with_connector(connector)
            .await
            .map_err(|_| silent(socket))?;
        let client = SwitchClient::new(channel).max_decoding_message_size(LONGEST_ANSWER);
        Ok(Self { client, socket: socket.to_owned() })
    }

    /// What the daemon answered, or its refusal.
    fn unpack<T>(&self, answer: Result<Response<T>, Status>) -> Result<T, Failure> {
        answer.map(Response::into_inner).map_err(|status| failure(&status, &self.socket))
    }
}

impl Client {
    /// Frames, live.
    ///
    /// # Errors
    /// What the daemon refused, or that it is gone.
    pub async fn capture(
        &mut self,
        request: proto::CaptureRequest,
    ) -> Result<Streaming<proto::Captured>, Failure> {
        let answer = self.client.capture(request).await;
        self.unpack(answer)
    }

    /// What happens to connections, live.
    ///
    /// # Errors
    /// What the daemon refused, or that it is gone.
    pub async fn watch_connections(
        &mut self,
        request: proto::WatchConnectionsRequest,
    ) -> Result<Streaming<proto::ConnectionEvents>, Failure> {
        let answer = self.client.watch_connections(request).await;
        self.unpack(answer)
    }

    /// Echo requests of the switch's own, live.
    ///
    /// # Errors
    /// What the daemon refused, or that it is gone.
    pub async fn ping(
        &mut self,
        request: proto::PingRequest,
    ) -> Result<Streaming<proto::PingEvent>, Failure> {
        let answer = self.client.ping(request).await;
        self.unpack(answer)
    }

    /// The next message of a stream; `None` at its end.
    pub(super) fn unpack_next<T>(&self, message: Result<Option<T>, Status>) -> Result<Option<T>, Failure> {
        message.map_err(|status| failure(&status, &self.socket))
    }
}

/// One method for each call.
macro_rules! calls {
    ($($(#[$doc:meta])* $name:ident($request:ident) -> $answer:ident;)+) => {
        impl Client {
            $(
                $(#[$doc])*
                ///
                /// # Errors
                /// What the daemon refused, or that it is gone.
                pub async fn $name(&mut self, request: proto::$request) -> Result<proto::$answer, Failure> {
                    let answer = self.client.$name(request).await;
                    self.unpack(answer)
                }
            )+
        }
    };
}

calls! {
    /// Applies a configuration.
    apply(ApplyRequest) -> Applied;
    apply_objects(ApplyObjectsRequest) -> Applied;
    /// Takes Kubernetes objects out again.
    delete_objects(DeleteObjectsRequest) -> Applied;
    /// Adds a port.
    add_port(AddPortRequest) -> Applied;
    /// Removes a port.
    delete_port(DeletePortRequest) -> Applied;
    /// Sets a port up or down.
    set_port(SetPortRequest) -> Applied;
    /// Closes and opens a port.
    reset_port(ResetPortRequest) -> Applied;
    /// Makes everything anew.
    resync(ResyncRequest) -> Resynced;
    /// What is wrong.
    diagnose(DiagnoseRequest) -> Diagnosis;
    /// The ports.
    show_ports(ShowPortsRequest) -> Ports;
    /// The MAC addresses.
    show_fdb(ShowFdbRequest) -> Fdb;
    /// The workers.
    show_workers(ShowWorkersRequest) -> Workers;
    /// Services, some of them at a time.
    show_services(ShowServicesRequest) -> Services;
    /// The topology.
    show_topology(ShowTopologyRequest) -> Topology;
    /// The drops.
    show_drops(ShowDropsRequest) -> Drops;
    /// The bonds.
    show_bonds(ShowBondsRequest) -> Bonds;
    show_refusals(ShowRefusalsRequest) -> Refusals;
    show_policies(ShowPoliciesRequest) -> Policies;
    /// The publications.
    show_generations(ShowGenerationsRequest) -> Generations;
    /// Routes.
    show_routes(ShowRoutesRequest) -> Routes;
    /// Neighbours.
    show_neighbors(ShowNeighborsRequest) -> Neighbors;
    /// Some connections.
    show_connections(ShowConnectionsRequest) -> Connections;
    /// Ends connections.
    end_connections(EndConnectionsRequest) -> EndedConnections;
    /// How the connection table is doing.
    show_connection_statistics(ShowConnectionStatisticsRequest) -> ConnectionStatistics;
    /// Rules.
    dump_rules(DumpRulesRequest) -> Rules;
    /// Cached flows.
    dump_flows(DumpFlowsRequest) -> Flows;
    /// Where a frame would go.
    trace(TraceRequest) -> Traced;
    /// The configuration.
    get_config(GetConfigRequest) -> ConfigText;
    /// Whether it works.
    health(HealthRequest) -> Healthy;
}

/// A refusal as it is printed. Mistakes in what the user wrote stand as they are: they begin with their place.
fn failure(status: &Status, socket: &Path) -> Failure {
    match status.code() {
        Code::InvalidArgument => Failure::bad_input(status.message()),
        Code::NotFound => Failure::bad_input(format!("shunt: {}", status.message())),
        Code::FailedPrecondition => Failure::refused(status.message().replace('\n', "\nshunt: ")),
        Code::Unimplemented => Failure::refused(
            "this shuntd does not know the command; use the `shunt` that was installed together with it",
        ),
        Code::Unavailable if status.message() == crate::control::Stopped.to_string() => {
            Failure::refused(status.message())
        }
        Code::Unavailable | Code::Unknown | Code::Cancelled => silent(socket),
        _ => Failure::refused(status.message()),
    }
}

/// Somebody listens and does not answer as shuntd would.
fn silent(socket: &Path) -> Failure {
    let path = socket.display();
    Failure::refused(format!("the connection to {path} broke; look at the log of shuntd and try again"))
}

/// Nobody could be reached on `socket`.
fn unreachable(socket: &Path, error: &io::Error) -> Failure {
    let path = socket.display();
    Failure::refused(match error.kind() {
        ErrorKind::NotFound | ErrorKind::ConnectionRefused => format!(
            "shuntd does not listen on {path}; is it running? start it, or name its socket with --socket or SHUNT_SOCKET"
        ),
        ErrorKind::PermissionDenied => match owners(socket) {
            Some((user, group)) => format!(
                "not permitted to connect to {path}; run as user {user} or as a member of the group {group}"
            ),
            None => format!("not permitted to reach {path}; run as root or as the user of shuntd"),
        },
        ErrorKind::InvalidInput => format!("{path} is too long for a socket path; name a shorter one"),
        _ => format!("cannot connect to {path}: {error}; name the socket of shuntd with --socket"),
    })
}

/// User and group of the socket, by name where there is one.
fn owners(socket: &Path) -> Option<(String, String)> {
    let metadata = std::fs::metadata(socket).ok()?;
    let (uid, gid) = (metadata.uid(), metadata.gid());
    let user = User::from_uid(Uid::from_raw(uid)).ok().flatten().map_or(uid.to_string(), |user| user.name);
    let group =
        Group::from_gid(Gid::from_raw(gid)).ok().flatten().map_or(gid.to_string(), |group| group.name);
    Some((user, group))
}
