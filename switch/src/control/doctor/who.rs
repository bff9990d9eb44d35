//! Who is meant by a word: a pod, a port, an address.

use std::net::IpAddr;

use crate::control::Control;
use crate::control::flows::port_named;
use crate::ids::{NetworkId, PortId};
use crate::table::fdb::{Entry, Place};
use crate::topology::{Network, Topology};
use crate::wire::ethernet::Mac;

/// Somebody.
#[derive(Clone, Debug)]
pub(super) struct Who {
    /// As he was called.
    pub(super) said: String,
    /// The port that his frames come in by; `None` when he is nowhere here.
    pub(super) port: Option<PortId>,
    /// The tag that they have there.
    pub(super) tag: Option<u16>,
    /// His address, when one is known.
    pub(super) address: Option<IpAddr>,
    /// The MAC address of a station behind the port, when one is known.
    pub(super) mac: Option<Mac>,
}

impl Control {
    /// Who is called `word`.
    ///
    /// # Errors
    /// It is no address, and no port or pod has that name: what to write.
    pub(super) fn who(&self, word: &str) -> Result<Who, String> {
        let topology = self.publisher.current();
        if let Ok(address) = word.parse::<IpAddr>() {
            return Ok(at_address(topology, word, address));
        }
        if let Some(pod) = self.config.cluster.pods.iter().find(|pod| pod.full_name() == word) {
            let found = pod.addresses.first().map(|address| at_address(topology, word, *address));
            return match (found, port_named(topology, &pod.name)) {
                (Some(found), None) => Ok(found),
                (Some(found), Some(_)) if found.port.is_some() => Ok(found),
                (found, Some(port)) => {
                    Ok(Who { address: found.and_then(|found| found.address), ..behind(topology, word, port) })
                }
                (None, None) => Err(format!("pod {word} has no address; give one, or the name of its port")),
            };
        }
        let name = word.rsplit_once('/').map_or(word, |(_, pod)| pod);
        let port = port_named(topology, name).ok_or_else(|| {
            format!("there is no port, pod or address {word:?}; `shunt show ports` lists the ports")
        })?;
        Ok(behind(topology, word, port))
    }
}

/// Whoever has `address`.
fn at_address(topology: &Topology, said: &str, address: IpAddr) -> Who {
    let station = |network: &Network| {
        let neighbor = network.neighbors.get(address).filter(|neighbor| !neighbor.own)?;
        let Place::Port(port) = network.fdb.get(neighbor.mac).map(Entry::place)? else { return None };
        let tag = network.attached.iter().find(|member| member.port == port)?.tag;
        let mac = network.demux.is_none().then_some(neighbor.mac);
        Some((port, tag.map(|tag| tag.vid), mac))
    };
    let found = topology.networks().iter().find_map(station);
    let (port, tag, mac) = found.map_or((None, None, None), |(port, tag, mac)| (Some(port), tag, mac));
    Who { said: said.to_owned(), port, tag, address: Some(address), mac }
}

/// The station behind `port`, by preference one whose address is known.
fn behind(topology: &Topology, said: &str, port: PortId) -> Who {
    let here = |network: NetworkId| topology.network(network);
    let attachments = topology.port(port).into_iter().flat_map(|port| port.attachments());
    let networks: Vec<&Network> = attachments.filter_map(|(network, _)| here(network)).collect();
    let is_here = |network: &Network, mac: Mac| {
        network.fdb.get(mac).is_some_and(|entry| entry.place() == Place::Port(port))
    };
    let known = networks.iter().find_map(|network| {
        let rows =
            network.neighbors.iter().filter(|row| !row.neighbor.own && is_here(network, row.neighbor.mac));
        // A given address before a learned one, and then IPv4 before IPv6.
        let best = rows.min_by_key(|row| (!row.neighbor.fixed, row.address))?;
        Some((best.address, network.demux.is_none().then_some(best.neighbor.mac), *network))
    });
    let station = || {
        networks.iter().find_map(|network| {
            let mut macs = network.fdb.iter().filter(|entry| entry.place() == Place::Port(port));
            macs.next().map(|entry| (entry.mac(), *network))
        })
    };
    let tag = |network: &Network| {
        network
            .attached
            .iter()
            .find(|member| member.port == port)
            .and_then(|member| member.tag)
            .map(|tag| tag.vid)
    };
    let (address, mac, tag) = match known {
        Some((address, mac, network)) => (Some(address), mac, tag(network)),
        None => match station() {
            Some((mac, network)) => (None, Some(mac), tag(network)),
            None => (None, None, networks.first().and_then(|network| tag(network))),
        },
    };
    Who { said: said.to_owned(), port: Some(port), tag, address, mac }
}
