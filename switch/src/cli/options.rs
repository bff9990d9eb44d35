//! The command line of `shunt`.

#![allow(
    rustdoc::broken_intra_doc_links,
    reason = "these comments are the text of `--help`: brackets are no links"
)]

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
    /// Apply a configuration file or Kubernetes objects, all of it or nothing; says what changed.
    ///
    /// A configuration (TOML) takes the place of the running one; objects (YAML: Subnets, pods, policies) are applied to
    /// it, and leave the rest as it is.
    Apply {
        /// The file; `-` reads standard input.
        #[arg(required_unless_present = "filename")]
        file: Option<PathBuf>,
        /// The same, as kubectl has it.
        #[arg(short = 'f', long, value_name = "FILE", conflicts_with = "file")]
        filename: Option<PathBuf>,
    },
    /// Take Kubernetes objects out of the running configuration again, all of them or none.
    #[command(after_help = "Examples: shunt delete -f policies.yaml\n\
        shunt delete networkpolicy deny web-only -n shop\n\
        shunt delete svc/web pod/web-0 -n shop\n\
        With a namespace all that is in it goes.")]
    Delete(Delete),
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
    /// Show the logical tables as ovs-ofctl would, or with --cached what the workers' flow caches hold.
    #[command(after_help = "Examples: shunt dump-flows br-int\n\
        shunt dump-flows br-int table=17\n\
        shunt dump-flows --cached --limit 20\n\
        A bridge is a network; br-int stands for all of them.")]
    DumpFlows(DumpFlows),
    /// Show frames where they come in, go out or are dropped; with -w as pcapng. Ports in user space are invisible to the
    /// kernel's own tcpdump.
    #[command(after_help = "Examples: shunt tcpdump -i any -e arp\n\
        shunt tcpdump -i pod1 -c 10 -w pod1.pcapng host 10.0.0.2\n\
        shunt tcpdump -i any -w - drop | wireshark -k -i -\n\
        docs/operations.md has the filter.")]
    Tcpdump(Tcpdump),
    /// Show dropped frames by port and reason; with --why the flows that are refused now, with the policy and rule, the VLANs, or the
    /// route that does it.
    #[command(after_help = "Example: shunt drops --why --limit 20")]
    Drops(Drops),
    /// Show ports as ovs-vsctl lists its records.
    List {
        /// Which columns.
        #[arg(value_enum)]
        record: Record,
        /// Only these ports.
        #[arg(value_name = "NAME")]
        names: Vec<String>,
    },
    /// Show routes as `ip route` does: [show] [dev NAME] [table ROUTER], or get ADDRESS.
    Route(Ip),
    /// Show neighbours as `ip neigh` does: [show] [ADDRESS] [dev NAME].
    Neigh(Ip),
    /// Show MAC addresses as `bridge fdb` does: [show] [dev NAME] [br NETWORK].
    Fdb(Ip),
    /// Show ports, and the addresses of the switch, as `ip addr` does: [show] [NAME].
    Addr(Ip),
    /// Show the connections of masqueraded networks as conntrack(8) does, or end them.
    #[command(after_help = "Examples: shunt conntrack -L -p tcp\n\
        shunt conntrack -D -s 10.16.0.2\n\
        shunt conntrack -D -p udp -s 10.16.0.2 -d 10.0.2.9 --sport 5353 --dport 53\n\
        shunt conntrack -E -p tcp\n\
        shunt conntrack -S")]
    Conntrack(Conntrack),
    /// What routers translate besides services, in the words of iptables.
    Nat {
        /// What of it.
        #[command(subcommand)]
        what: Nat,
    },
    /// Show where a frame would go and why. Nothing is sent and nothing changes; a dropped frame is a result, not an error.
    #[command(after_help = "Examples: shunt trace --in pod1 'ip4.dst==10.0.2.9 && udp.dst==53'\n\
        shunt trace 'inport==\"pod1\" && ip4.src==10.0.1.9 && ip4.dst==10.0.2.9'\n\
        shunt trace default/pod1 10.0.2.9 tcp 80\n\
        What the expression leaves open is chosen, and the choice is printed. docs/operations.md has the fields.")]
    Trace(Trace),
    /// Ask somebody for an answer, from the switch's own address in a network. An answer makes the exit code 0.
    #[command(after_help = "Examples: shunt ping --from eth0 192.168.1.1\n\
        shunt ping --from vxlan.2 -c 3 10.20.6.10")]
    Ping(Ping),
    /// Say what is wrong and what to do about it, by the symptom if there is one; exits with 1 when something is broken.
    #[command(after_help = "Examples: shunt doctor\n\
        shunt doctor veth_pod_a\n\
        shunt doctor veth_pod_a 10.16.0.3 --flow 'tcp 80'\n\
        shunt doctor shop/web shop/db --symptom 'ping: timeout'\n\
        docs/doctor.md has the symptoms, the checks and what they say.")]
    Doctor(Doctor),
    /// Make everything anew of the running configuration, and set again what was taken away in the kernel; says what it repaired.
    Resync,
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

/// What is asked about translations.
#[derive(Clone, Debug, Subcommand)]
pub enum Nat {
    /// Print the rules of each router as iptables-save does: masquerading by a mark and a chain of its own, floating addresses,
    /// single ports, prefixes. The switch itself uses no iptables.
    #[command(after_help = "Examples: shunt nat rules | grep MASQUERADE\n\
        shunt nat rules -6 ovn-cluster")]
    Rules(NatRules),
}

/// Which rules.
#[derive(Clone, Debug, Args)]
pub struct NatRules {
    /// Only this router's.
    pub router: Option<String>,
    /// Those of IPv6, as ip6tables-save does.
    #[arg(short = '6')]
    pub v6: bool,
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
    /// Bonds: who carries traffic, what each side says of itself.
    Bonds,
    /// The services: where they are reached, and who answers.
    Services {
        /// Only this one, as namespace/name.
        #[arg(value_name = "NAME")]
        name: Option<String>,
    },
    /// Policies: who they are about and how many rules they have.
    Policies,
    /// The newest publications of a topology, newest first.
    Generations,
    /// The running configuration as TOML that `apply` takes, secrets included (as JSON: without).
    Config,
}

/// Which objects.
#[derive(Clone, Debug, Default, Args)]
pub struct Delete {
    /// Those in this file, whatever else it says of them; `-` reads standard input.
    #[arg(short = 'f', long, value_name = "FILE", conflicts_with = "words")]
    pub filename: Option<PathBuf>,
    /// A kind and names, or kinds with names, as service/web.
    #[arg(value_name = "KIND NAME | KIND/NAME", required_unless_present = "filename")]
    pub words: Vec<String>,
    /// The namespace of those that are named; a file says its own.
    #[arg(short = 'n', long, value_name = "NAME", default_value = "default", conflicts_with = "filename")]
    pub namespace: String,
    /// An object that is not there is no mistake.
    #[arg(long)]
    pub ignore_not_found: bool,
}

/// Which flows.
#[derive(Clone, Debug, Default, Args)]
pub struct DumpFlows {
    /// A network or br-int for all, then what the rules must match: table=N, in_port=NAME, ...
    #[arg(value_name = "BRIDGE [MATCH]", conflicts_with = "cached")]
    pub words: Vec<String>,
    /// Those in the flow caches, and not the logical tables.
    #[arg(long)]
    pub cached: bool,
    /// Of the flow caches: only flows that came in by this port.
    #[arg(long, value_name = "NAME")]
    pub port: Option<String>,
    /// Of the flow caches: most flows to print, the busiest of all.
    #[arg(long, value_name = "FLOWS", default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub limit: u32,
}

/// Which frames, and how.
#[derive(Clone, Debug, Default, Args)]
pub struct Tcpdump {
    /// The port, or `any`.
    #[arg(short = 'i', long = "interface", value_name = "PORT", default_value = "any")]
    pub port: String,
    /// End after so many frames.
    #[arg(short = 'c', value_name = "FRAMES", value_parser = clap::value_parser!(u64).range(1..))]
    pub count: Option<u64>,
    /// Print the Ethernet header, too.
    #[arg(short = 'e')]
    pub ethernet: bool,
    /// Names are never asked for; taken for tcpdump's sake, as often as it is given.
    #[arg(short = 'n', action = clap::ArgAction::Count)]
    pub numeric: u8,
    /// Write pcapng to this file; `-` is standard output.
    #[arg(short = 'w', value_name = "FILE")]
    pub write: Option<PathBuf>,
    /// Most bytes taken of a frame; 0 takes all.
    #[arg(short = 's', value_name = "BYTES", default_value_t = 65_535, value_parser = clap::value_parser!(u32).range(0..=65_535))]
    pub snaplen: u32,
    /// Only frames that match, as 'host 10.0.0.2 and tcp port 80' or 'drop'.
    #[arg(value_name = "FILTER", trailing_var_arg = true)]
    pub filter: Vec<String>,
}

/// Which drops.
#[derive(Clone, Copy, Debug, Default, Args)]
pub struct Drops {
    /// The flows that are refused, each with what refuses it.
    #[arg(long)]
    pub why: bool,
    /// Most flows to print, the busiest of all.
    #[arg(long, value_name = "FLOWS", requires = "why", default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub limit: u32,
}

/// A record of ovs-vsctl.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Record {
    /// State, errors, statistics.
    Interface,
    /// VLANs.
    Port,
}

/// Words of `ip` or `bridge`.
#[derive(Clone, Debug, Default, Args)]
pub struct Ip {
    /// As behind `ip` or `bridge`.
    #[arg(value_name = "WORDS")]
    pub words: Vec<String>,
    /// IPv4 alone.
    #[arg(short = '4', conflicts_with = "v6")]
    pub v4: bool,
    /// IPv6 alone.
    #[arg(short = '6')]
    pub v6: bool,
}

/// What is to be done with which connections.
#[derive(Clone, Debug, clap::Args)]
#[group(skip)]
pub struct Conntrack {
    /// List them; the default.
    #[arg(short = 'L', long = "dump")]
    pub list: bool,
    /// Count them.
    #[arg(short = 'C', long, conflicts_with = "list")]
    pub count: bool,
    /// End those that the filter names.
    #[arg(short = 'D', long, conflicts_with_all = ["list", "count"])]
    pub delete: bool,
    /// End all.
    #[arg(short = 'F', long, conflicts_with_all = ["list", "count", "delete", "protocol", "source", "destination", "sport", "dport"])]
    pub flush: bool,
    /// Show what happens to them, as it happens, until interrupted: [NEW], [UPDATE], [DESTROY].
    #[arg(short = 'E', long, conflicts_with_all = ["list", "count", "delete", "flush"])]
    pub event: bool,
    /// Show how the table is doing: connections, room, what was refused.
    #[arg(short = 'S', long, conflicts_with_all = ["list", "count", "delete", "flush", "event", "protocol", "source", "destination", "sport", "dport"])]
    pub stats: bool,
    /// Only of this protocol: tcp, udp, sctp, icmp, icmpv6 or a number.
    #[arg(short = 'p', long = "protonum", value_name = "PROTOCOL")]
    pub protocol: Option<String>,
    /// Only from this address.
    #[arg(short = 's', long = "src", value_name = "ADDRESS")]
    pub source: Option<String>,
    /// Only to this address.
    #[arg(short = 'd', long = "dst", value_name = "ADDRESS")]
    pub destination: Option<String>,
    /// Only from this port of TCP, UDP or SCTP.
    #[arg(long, value_name = "PORT", value_parser = clap::value_parser!(u32).range(1..=65_535))]
    pub sport: Option<u32>,
    /// Only to this port of TCP, UDP or SCTP.
    #[arg(long, value_name = "PORT", value_parser = clap::value_parser!(u32).range(1..=65_535))]
    pub dport: Option<u32>,
    /// Print JSON, as --json.
    #[arg(short = 'o', long = "output", value_name = "FORMAT")]
    pub output: Option<Format>,
}

/// A form of output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// JSON.
    Json,
}

/// Which frame, and where it comes in.
#[derive(Clone, Debug, Default, Args)]
pub struct Trace {
    /// The port that the frame comes in by.
    #[arg(long = "in", value_name = "PORT")]
    pub port: Option<String>,
    /// Fields of the frame, as 'ip4.dst==10.0.0.2 && udp.dst==53'; or NS/POD ADDRESS icmp|tcp PORT|udp PORT.
    #[arg(value_name = "EXPRESSION")]
    pub words: Vec<String>,
    /// The frame's bytes in hexadecimal, from the Ethernet header on, without FCS.
    #[arg(long, value_name = "DIGITS", conflicts_with = "pcap")]
    pub hex: Option<String>,
    /// A frame out of this capture, pcap or pcapng.
    #[arg(long, value_name = "FILE")]
    pub pcap: Option<PathBuf>,
    /// Which frame of the capture, from 1.
    #[arg(long, value_name = "NUMBER", default_value_t = 1, requires = "pcap", value_parser = clap::value_parser!(u32).range(1..))]
    pub packet: u32,
}

/// Whom the switch asks.
#[derive(Clone, Debug, Args)]
pub struct Ping {
    /// A network, whose gateway asks; or a port, for the network that it is in.
    #[arg(long, value_name = "PORT|NETWORK")]
    pub from: String,
    /// Who is asked.
    #[arg(value_name = "ADDRESS")]
    pub address: std::net::IpAddr,
    /// End after so many requests; without it, when interrupted.
    #[arg(short = 'c', value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..=65_535))]
    pub count: Option<u32>,
    /// Time from one request to the next.
    #[arg(short = 'i', value_name = "SECONDS", default_value_t = 1.0)]
    pub interval: f64,
    /// How long an answer is waited for.
    #[arg(short = 'W', value_name = "SECONDS", default_value_t = 1.0)]
    pub timeout: f64,
    /// Data bytes of a request.
    #[arg(short = 's', value_name = "BYTES", default_value_t = 56, value_parser = clap::value_parser!(u32).range(0..=1400))]
    pub size: u32,
}

/// Who complains, and about what.
#[derive(Clone, Debug, Default, Args)]
pub struct Doctor {
    /// Who complains: a pod, its port or its address.
    #[arg(value_name = "POD|PORT|ADDRESS")]
    pub from: Option<String>,
    /// Whom it talks to.
    #[arg(value_name = "POD|PORT|ADDRESS")]
    pub to: Option<String>,
    /// Words of the symptom, as 'no route to host': only what may explain it is looked at.
    #[arg(long, value_name = "WORDS")]
    pub symptom: Option<String>,
    /// What is sent: icmp, 'tcp PORT' or 'udp PORT'.
    #[arg(long, value_name = "WORDS", default_value = "icmp", requires = "to")]
    pub flow: String,
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
