//! The command line of `shuntd`.

use std::path::PathBuf;

use clap::Parser;

/// Packet switch for Kubernetes nodes: the daemon. Without arguments it runs an embedded default: one adaptive worker,
/// the network `default`, no port; `shunt port add` adds ports.
#[derive(Clone, Debug, Parser)]
#[command(
    name = "shuntd",
    version,
    after_help = "Signals: SIGHUP reads --config again, SIGTERM and SIGINT stop.\n\
        Exit codes: 0 stopped as told, 1 could not start, 2 bad arguments or configuration."
)]
pub struct Options {
    /// Configuration file, TOML (see docs/configuration.md).
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Unix socket of the control interface, instead of `socket` under `[daemon]`.
    #[arg(long, value_name = "PATH")]
    pub socket: Option<PathBuf>,
    /// Only check the configuration: exit with 0 when it is valid, else print all mistakes and exit with 2.
    #[arg(long)]
    pub check: bool,
    /// Do not start when a configured port does not open; else such a port is down and tried again.
    #[arg(long)]
    pub strict: bool,
    /// What to log: error, warn, info, debug, trace, or a filter as `info,shunt_switch=debug`; instead of `RUST_LOG`.
    #[arg(long, value_name = "LEVEL")]
    pub log: Option<String>,
}
