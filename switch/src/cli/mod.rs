//! `shunt`: the command. It asks `shuntd` over the control socket and prints tables, or JSON with `--json`.
//!
//! Exit codes: 0 done, 1 it could not be done, 2 bad arguments or configuration. Tables go to standard output, messages to
//! standard error.
//!
//! | file | holds |
//! |---|---|
//! | [`options`] | the command line |
//! | [`client`] | the connection and what its errors mean to a person |
//! | [`change`] | commands that change something |
//! | `objects` | Kubernetes objects by kind and name |
//! | [`show`] | tables, one function each |
//! | [`ip`], [`ovs`] | the tables in the words of `ip`, `bridge`, `ovs-ofctl`, `ovs-vsctl` |
//! | [`conntrack`] | connections in the words of conntrack(8) |
//! | [`doctor`] | what is wrong; making it right |
//! | [`nat`] | translations in the words of iptables-save(8) |
//! | [`flows`], [`trace`](mod@trace), [`capture`] | cached flows; where a frame would go; a frame out of a file |
//! | [`tcpdump`] | frames, live |
//! | [`ping`] | the switch asks somebody |
//! | [`table`] | columns |
//! | `watch` | rates over an interval |
//! | [`man`] | the manual pages |

pub mod bonds;
pub mod capture;
mod carried;
pub mod change;
pub mod client;
pub mod conntrack;
pub mod doctor;
mod feed;
pub mod flows;
pub mod ip;
pub mod man;
pub mod nat;
mod objects;
pub mod options;
pub mod ovs;
mod pace;
pub mod ping;
pub mod policies;
mod routers;
pub mod services;
pub mod show;
pub mod table;
pub mod tcpdump;
pub mod trace;
mod watch;
mod words;

use std::io::{self, Write};
use std::process::ExitCode;

use clap::{CommandFactory, Parser};

use client::Client;
use options::{Command, Options, Page};

use crate::control::api::proto;

/// Why a command failed, ready to be printed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Exit code.
    pub code: u8,
    /// One or more lines for standard error.
    pub message: String,
}

impl Failure {
    /// Bad arguments or configuration: exit code 2. The lines say where the mistakes are.
    pub fn bad_input(message: impl Into<String>) -> Self {
        Self { code: 2, message: message.into() }
    }

    /// It could not be done: exit code 1.
    pub fn refused(message: impl Into<String>) -> Self {
        Self { code: 1, message: format!("shunt: {}", message.into()) }
    }
}

/// Runs the command line of this process.
pub fn main() -> ExitCode {
    match run(Options::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("{}", failure.message);
            ExitCode::from(failure.code)
        }
    }
}

/// Runs one command.
///
/// # Errors
/// [`Failure`] with what to print and the exit code.
pub fn run(options: Options) -> Result<(), Failure> {
    match options.command {
        Command::Completion { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Options::command(), "shunt", &mut script);
            return print(&script);
        }
        Command::Man { page } => {
            return print(&match page {
                Page::Shunt => man::page(Options::command()),
                Page::Shuntd => man::page(crate::daemon::Options::command()),
            });
        }
        _ => {}
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::refused(format!("the system refused a runtime: {error}")))?;
    runtime.block_on(ask(&options))
}

/// Runs a command that needs the daemon.
async fn ask(options: &Options) -> Result<(), Failure> {
    let json = options.json;
    // What can be wrong without the daemon is found without it.
    let change = change::Change::of(&options.command)?;
    let question = Question::of(&options.command)?;
    if let Command::Conntrack(wanted) = &options.command {
        conntrack::check(wanted)?;
    }
    if let Command::Tcpdump(wanted) = &options.command {
        tcpdump::check(wanted, json)?;
    }
    let mut client = Client::connect(&options.socket).await?;
    if let Some(change) = change {
        let applied = change.send(&mut client).await?;
        return output(json, &applied, || change::sentence(&applied));
    }
    match question {
        Some(Question::Flows(request)) => return flows::run(&mut client, request, json).await,
        Some(Question::Rules(wanted)) => return ovs::dump(&mut client, wanted, json).await,
        Some(Question::Ip(wanted, families)) => return ip::run(&mut client, wanted, families, json).await,
        Some(Question::Capture(request, wanted)) => {
            return tcpdump::run(&mut client, request, &wanted, json).await;
        }
        Some(Question::Trace(request)) => return trace::run(&mut client, request, json).await,
        Some(Question::Ping(request)) => return ping::run(&mut client, request, json).await,
        None => {}
    }
    match &options.command {
        Command::Conntrack(wanted) => {
            conntrack::run(&mut client, wanted, json || wanted.output.is_some()).await
        }
        Command::Nat { what: options::Nat::Rules(wanted) } => nat::run(&mut client, wanted, json).await,
        Command::Drops(wanted) => policies::drops(&mut client, wanted, json).await,
        Command::List { record, names } => ovs::list(&mut client, *record, names, json).await,
        Command::Show { what } => show::run(&mut client, what, json).await,
        Command::Doctor(wanted) => doctor::run(&mut client, wanted, json).await,
        Command::Resync => doctor::resync(&mut client, json).await,
        Command::Health => {
            let health = client.health(proto::HealthRequest {}).await?;
            output(json, &health, || show::health(&health))
        }
        Command::Apply { .. }
        | Command::Delete(_)
        | Command::Port { .. }
        | Command::DumpFlows(_)
        | Command::Trace(_)
        | Command::Ping(_)
        | Command::Tcpdump(_)
        | Command::Route(_)
        | Command::Neigh(_)
        | Command::Fdb(_)
        | Command::Addr(_)
        | Command::Completion { .. }
        | Command::Man { .. } => Ok(()),
    }
}

/// A question that can be wrong by itself.
enum Question {
    Flows(proto::DumpFlowsRequest),
    Rules(ovs::WantedRules),
    Capture(proto::CaptureRequest, options::Tcpdump),
    Ip(ip::Wanted, ip::Families),
    Trace(proto::TraceRequest),
    Ping(proto::PingRequest),
}

impl Question {
    fn ip(wanted: ip::Wanted, options: &options::Ip) -> Self {
        Self::Ip(wanted, ip::Families { v4: options.v4, v6: options.v6 })
    }

    fn of(command: &Command) -> Result<Option<Self>, Failure> {
        Ok(match command {
            Command::DumpFlows(wanted) if wanted.cached => Some(Self::Flows(flows::request(wanted))),
            Command::DumpFlows(wanted) => Some(Self::Rules(ovs::rules(wanted)?)),
            Command::Tcpdump(wanted) => Some(Self::Capture(tcpdump::request(wanted)?, wanted.clone())),
            Command::Route(it) => Some(Self::ip(ip::route(&it.words)?, it)),
            Command::Neigh(it) => Some(Self::ip(ip::neigh(&it.words)?, it)),
            Command::Fdb(it) => Some(Self::ip(ip::fdb(&it.words)?, it)),
            Command::Addr(it) => Some(Self::ip(ip::addr(&it.words)?, it)),
            Command::Trace(wanted) => Some(Self::Trace(trace::request(wanted)?)),
            Command::Ping(wanted) => Some(Self::Ping(ping::request(wanted)?)),
            _ => None,
        })
    }
}

/// Prints `value` as JSON, or its text.
fn output(json: bool, value: &impl serde::Serialize, text: impl FnOnce() -> String) -> Result<(), Failure> {
    if !json {
        return print(text().as_bytes());
    }
    let text = serde_json::to_string_pretty(value)
        .map_err(|error| Failure::refused(format!("the answer is not JSON: {error}")))?;
    print(format!("{text}\n").as_bytes())
}

/// Writes to standard output. A reader that has gone (`shunt show fdb | head`) has read enough.
fn print(bytes: &[u8]) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    match out.write_all(bytes).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Failure::refused(format!("standard output cannot be written: {error}")))
        }
        _ => Ok(()),
    }
}
