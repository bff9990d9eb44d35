//! `shunt route`, `neigh`, `fdb` and `addr`: the switch's tables in the words of `ip` and `bridge`, so that what reads those
//! reads these. A device is a network of the switch, or the port behind which a single address is.

use std::net::IpAddr;

use super::client::Client;
use super::words::Words;
use super::{Failure, output};
use crate::control::api::proto;

/// Seconds for which a confirmed neighbour counts as reachable: the kernel's `base_reachable_time`.
const REACHABLE: u32 = 30;

/// What is asked, understood without the daemon.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// Routes, or the one to an address; of one router, through one device.
    Routes {
        /// Only the route to it.
        address: Option<IpAddr>,
        /// Only this router's.
        table: String,
        /// Only those through it.
        dev: String,
    },
    /// Neighbours at one device, with one address.
    Neighbors {
        /// Only this one.
        address: Option<IpAddr>,
        /// Only those at it.
        dev: String,
    },
    /// MAC addresses at one device or in one network.
    Fdb {
        /// Only those at this port or in this network, and the name is not repeated.
        dev: String,
        /// Only those in this network.
        br: String,
    },
    /// Addresses of a port or network, or of all.
    Addresses {
        /// Which.
        dev: String,
    },
}

/// IPv4 or IPv6 alone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Families {
    /// IPv4 alone.
    pub v4: bool,
    /// IPv6 alone.
    pub v6: bool,
}

impl Families {
    fn take(self, address: &str) -> bool {
        let v6 = address.contains(':');
        !(self.v4 && v6 || self.v6 && !v6)
    }
}

const SHOW: [&str; 4] = ["show", "list", "ls", "lst"];

/// Reads `shunt route WORDS`.
///
/// # Errors
/// A word has no place there.
pub fn route(words: &[String]) -> Result<Wanted, Failure> {
    let mut words = Words::new("route", "[show|get ADDRESS] [dev NAME] [table ROUTER]", words);
    let (mut address, mut table, mut dev) = (None, String::new(), String::new());
    let mut first = true;
    while let Some(word) = words.next() {
        match word {
            word if first && SHOW.contains(&word) => {}
            "get" if first => {
                let text = words.behind(word)?;
                address = Some(parse(&words, &text)?);
            }
            "table" => table = words.behind(word)?,
            "dev" => dev = words.behind(word)?,
            _ => return Err(words.unknown(word)),
        }
        first = false;
    }
    Ok(Wanted::Routes { address, table, dev })
}

fn parse(words: &Words<'_>, text: &str) -> Result<IpAddr, Failure> {
    text.parse().map_err(|_| words.wrong(&format!("{text:?} is no IP address")))
}

/// Reads `shunt neigh WORDS`.
///
/// # Errors
/// A word has no place there.
pub fn neigh(words: &[String]) -> Result<Wanted, Failure> {
    let mut words = Words::new("neigh", "[show] [ADDRESS] [dev NAME]", words);
    let (mut address, mut dev) = (None, String::new());
    let mut first = true;
    while let Some(word) = words.next() {
        match word {
            word if first && SHOW.contains(&word) => {}
            "dev" => dev = words.behind(word)?,
            "to" => {
                let text = words.behind(word)?;
                address = Some(parse(&words, &text)?);
            }
            word => address = Some(parse(&words, word)?),
        }
        first = false;
    }
    Ok(Wanted::Neighbors { address, dev })
}

/// Reads `shunt fdb WORDS`.
///
/// # Errors
/// A word has no place there.
pub fn fdb(words: &[String]) -> Result<Wanted, Failure> {
    let mut words = Words::new("fdb", "[show] [dev NAME] [br NETWORK]", words);
    let (mut dev, mut br) = (String::new(), String::new());
    let mut first = true;
    while let Some(word) = words.next() {
        match word {
            word if first && SHOW.contains(&word) => {}
            "dev" | "brport" => dev = words.behind(word)?,
            "br" => br = words.behind(word)?,
            _ => return Err(words.unknown(word)),
        }
        first = false;
    }
    Ok(Wanted::Fdb { dev, br })
}

/// Reads `shunt addr WORDS`.
///
/// # Errors
/// A word has no place there.
pub fn addr(words: &[String]) -> Result<Wanted, Failure> {
    let mut words = Words::new("addr", "[show] [[dev] NAME]", words);
    let mut dev = String::new();
    let mut first = true;
    while let Some(word) = words.next() {
        match word {
            word if first && SHOW.contains(&word) => {}
            "dev" => dev = words.behind(word)?,
            name if dev.is_empty() => name.clone_into(&mut dev),
            _ => return Err(words.unknown(word)),
        }
        first = false;
    }
    Ok(Wanted::Addresses { dev })
}

/// Asks and prints.
pub(super) async fn run(
    client: &mut Client,
    wanted: Wanted,
    families: Families,
    json: bool,
) -> Result<(), Failure> {
    match wanted {
        Wanted::Routes { address, table, dev } => {
            let request = proto::ShowRoutesRequest {
                router: table.clone(),
                address: address.map_or_else(String::new, |address| address.to_string()),
            };
            let mut rows = client.show_routes(request).await?.routes;
            rows.retain(|row| families.take(&row.to) && at(&dev, &row.port, &row.network));
            output(json, &rows, || match address {
                Some(address) => rows.iter().map(|row| got(row, address)).collect(),
                None => routes(&rows, &table),
            })
        }
        Wanted::Neighbors { address, dev } => {
            let mut rows = client.show_neighbors(proto::ShowNeighborsRequest::default()).await?.neighbors;
            let wanted = address.map(|address| address.to_string());
            rows.retain(|row| {
                families.take(&row.address)
                    && at(&dev, &row.port, &row.network)
                    && wanted.as_ref().is_none_or(|wanted| *wanted == row.address)
            });
            output(json, &rows, || neighbors(&rows))
        }
        Wanted::Fdb { dev, br } => {
            let mut rows = client.show_fdb(proto::ShowFdbRequest { network: br }).await?.entries;
            rows.retain(|row| at(&dev, &row.port, &row.network));
            output(json, &rows, || fdb_text(&rows, !dev.is_empty()))
        }
        Wanted::Addresses { dev } => {
            let mut ports = client.show_ports(proto::ShowPortsRequest {}).await?.ports;
            let mut networks = client.show_topology(proto::ShowTopologyRequest {}).await?.networks;
            ports.retain(|port| dev.is_empty() || port.name == dev);
            networks.retain(|network| dev.is_empty() || network.name == dev);
            if ports.is_empty() && networks.is_empty() && !dev.is_empty() {
                return Err(Failure::refused(format!(
                    "there is no port or network {dev:?}; `shunt show ports` and `shunt show topology` list them"
                )));
            }
            output(json, &(&ports, &networks), || addresses(&ports, &networks))
        }
    }
}

/// True when a row is at the device asked for.
fn at(dev: &str, port: &str, network: &str) -> bool {
    dev.is_empty() || dev == port || dev == network
}

/// The device of a row: its port when it is of one station, else its network.
fn device<'r>(port: &'r str, network: &'r str) -> &'r str {
    if port.is_empty() { network } else { port }
}

/// `ip route show`.
pub fn routes(rows: &[proto::RouteEntry], table: &str) -> String {
    let several =
        table.is_empty() && rows.windows(2).any(|pair| matches!(pair, [a, b] if a.router != b.router));
    let mut text = String::new();
    for row in rows {
        let to = match row.to.as_str() {
            "0.0.0.0/0" | "::/0" => "default",
            // The kernel leaves out the length of a single address.
            to => to.strip_suffix("/32").or_else(|| to.strip_suffix("/128")).unwrap_or(to),
        };
        let mut line = match row.kind.as_str() {
            "link" | "via" => to.to_owned(),
            kind => format!("{kind} {to}"),
        };
        if !row.via.is_empty() {
            line.push_str(&format!(" via {}", row.via));
        }
        if !row.network.is_empty() {
            line.push_str(&format!(" dev {}", device(&row.port, &row.network)));
        }
        if several {
            line.push_str(&format!(" table {}", row.router));
        }
        if row.kind == "link" {
            line.push_str(" scope link");
            if !row.source.is_empty() && row.port.is_empty() {
                line.push_str(&format!(" src {}", row.source));
            }
        }
        if row.onlink {
            line.push_str(" onlink");
        }
        text.push_str(&line);
        text.push_str(" \n");
    }
    text
}

/// `ip route get`.
pub fn got(row: &proto::RouteEntry, address: IpAddr) -> String {
    if row.network.is_empty() {
        return format!("{} {address} \n", row.kind);
    }
    let mut line = address.to_string();
    if !row.via.is_empty() {
        line.push_str(&format!(" via {}", row.via));
    }
    line.push_str(&format!(" dev {}", device(&row.port, &row.network)));
    if !row.source.is_empty() {
        line.push_str(&format!(" src {}", row.source));
    }
    format!("{line} \n    cache \n")
}

/// `ip neigh show`. The switch's own addresses are no neighbours of its own: `shunt addr` has them.
pub fn neighbors(rows: &[proto::NeighborEntry]) -> String {
    let others = rows.iter().filter(|row| !row.own);
    let line = |row: &proto::NeighborEntry| {
        let state = match (row.fixed, row.age) {
            (true, _) => "PERMANENT",
            (false, age) if age <= REACHABLE => "REACHABLE",
            _ => "STALE",
        };
        format!("{} dev {} lladdr {} {state} \n", row.address, row.network, row.mac)
    };
    others.map(line).collect()
}

/// `bridge fdb show`; without the device when it was asked for one.
pub fn fdb_text(rows: &[proto::FdbEntry], of_one: bool) -> String {
    let line = |row: &proto::FdbEntry| {
        let name = if row.peer.is_empty() { &row.port } else { &row.network };
        let dev = if of_one { String::new() } else { format!(" dev {name}") };
        if !row.peer.is_empty() {
            let kind = if row.fixed { " permanent" } else { "" };
            return format!("{}{dev} dst {} self{kind} \n", row.mac, row.peer);
        }
        let given = if row.fixed { " static" } else { "" };
        format!("{}{dev} master {}{given} \n", row.mac, row.network)
    };
    rows.iter().map(line).collect()
}

/// `ip addr show`: the ports, then the networks in which the switch has addresses.
pub fn addresses(ports: &[proto::Port], networks: &[proto::Network]) -> String {
    let mut text = String::new();
    for port in ports {
        let flags = match (port.admin_up && port.oper_up, port.link) {
            (true, true) => "BROADCAST,MULTICAST,UP,LOWER_UP",
            (true, false) => "NO-CARRIER,BROADCAST,MULTICAST,UP",
            (false, _) => "BROADCAST,MULTICAST",
        };
        let state = if port.admin_up && port.oper_up && port.link { "UP" } else { "DOWN" };
        let (slot, name, mtu, network) = (port.slot + 1, &port.name, port.mtu, &port.network);
        text.push_str(&format!("{slot}: {name}: <{flags}> mtu {mtu} master {network} state {state} \n"));
        for endpoint in &port.endpoints {
            let mut words = endpoint.split(' ');
            text.push_str(&format!("    link/ether {} behind {name}\n", words.next().unwrap_or_default()));
            for address in words {
                text.push_str(&inet(address, name));
            }
        }
    }
    for (index, network) in networks.iter().enumerate().filter(|(_, it)| !it.gateways.is_empty()) {
        let state = if network.members.is_empty() { "DOWN" } else { "UP" };
        // Behind the slots of the ports.
        let (number, name, mtu) = (index + 1 + crate::ids::MAX_PORTS, &network.name, network.mtu);
        text.push_str(&format!(
            "{number}: {name}: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu {mtu} state {state} \n"
        ));
        text.push_str(&format!("    link/ether {} brd ff:ff:ff:ff:ff:ff\n", network.gateway_mac));
        network.gateways.iter().for_each(|address| text.push_str(&inet(address, name)));
    }
    text
}

fn inet(address: &str, name: &str) -> String {
    let (family, whole) = if address.contains(':') { ("inet6", 128) } else { ("inet", 32) };
    let length = if address.contains('/') { String::new() } else { format!("/{whole}") };
    format!("    {family} {address}{length} scope global {name}\n")
}
