//! The command line of `shunt`.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

/// Asks and changes a running shuntd.
#[derive(Clone, Debug, Parser)]
#[command(
    name = "shunt",
    version,
    disable_help_subcommand = true,
    after_help = "Exit codes: 0 done, 1 it could not be done, 2 bad arguments or configuration."
)]
pub struct Options {
    /// Unix socket of the daemon.
    #[arg(
        long,
        global = true,
        value_name = "PATH",
        env = "SHUNT_SOCKET",
        default_value = "/run/shunt/shunt.sock"
    )]
    pub socket: PathBuf,
    /// Print JSON instead of tables and sentences.
    #[arg(long, global = true)]
    pub json: bool,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Clone, Debug, Subcommand)]
pub enum Command {
    /// Apply a configuration file, all of it or nothing; says what changed.
    Apply {
        /// The file, TOML; `-` reads standard input.
        file: PathBuf,
    },
    /// Show what the daemon knows.
    Show {
        /// Which part of it.
        #[command(subcommand)]
        what: Show,
    },
    /// Add, remove or change one port.
    Port {
        /// Which change.
        #[command(subcommand)]
        command: PortCommand,
    },
    /// Ask whether the daemon works; exits with 0 when it does.
    Health,
    /// Print a completion script for a shell.
    Completion {
        /// The shell.
        shell: clap_complete::Shell,
    },
    /// Print a manual page (roff).
    Man {
        /// Which one.
        #[arg(value_enum, default_value_t = Page::Shunt)]
        page: Page,
    },
}

/// A part of what the daemon knows.
#[derive(Clone, Debug, Subcommand)]
pub enum Show {
    /// Ports: state, counters, device.
    Ports(Watch),
    /// MAC addresses, learned and given.
    Fdb {
        /// Only those of this network.
        #[arg(long, value_name = "NAME")]
        network: Option<String>,
    },
    /// Workers: core, load, cycles per packet, queues.
    Workers(Watch),
    /// The running topology: networks, members, memory.
    Topology,
    /// Dropped frames by port and reason.
    Drops,
    /// The newest publications of a topology, newest first.
    Generations,
    /// The running configuration as TOML that `apply` takes, secrets included (as JSON: without).
    Config,
}

/// Repeating a table.
#[derive(Clone, Copy, Debug, Default, Args)]
pub struct Watch {
    /// Print again every so many seconds, with rates over that time, until interrupted.
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u32).range(1..=3600))]
    pub watch: Option<u32>,
}

/// A change of one port.
#[derive(Clone, Debug, Subcommand)]
pub enum PortCommand {
    /// Add a port; takes the keys of a [[port]] section.
    #[command(after_help = "Example: shunt port add pod1 kind=veth device=veth1 network=blue\n\
        Lists are written with commas. docs/configuration.md has all kinds and keys.")]
    Add {
        /// Its name, at most 15 characters.
        name: String,
        /// Keys and values, as kind=veth.
        #[arg(value_name = "KEY=VALUE", required = true)]
        keys: Vec<String>,
    },
    /// Remove a port and close its device.
    Del {
        /// Its name.
        name: String,
    },
    /// Set a port administratively up.
    Up {
        /// Its name.
        name: String,
    },
    /// Set a port administratively down; its device stays open.
    Down {
        /// Its name.
        name: String,
    },
    /// Close a port's device and open it again.
    Reset {
        /// Its name.
        name: String,
    },
}

/// A manual page.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Page {
    /// shunt(1)
    Shunt,
    /// shuntd(8)
    Shuntd,
}
