//! What overlays add to the tables of routers: prefixes of peers, and `cidr`. No two rows may be for one prefix, and
//! prefixes of peers overlap neither each other nor a subnet, but for single addresses of an underlay: pods that are reached
//! through the tunnel (`return = "symmetric"`). Cost: sorting them.

use std::collections::HashMap;

use ipnet::IpNet;

use super::label;
use crate::error::Sink;
use crate::names::RouterName;
use crate::network::Draft;
use crate::router;

/// A prefix that leads somewhere, and where it stands.
struct Row {
    net: IpNet,
    /// Key to report at; `None` for the subnet of a gateway, which [`crate::check::routing`] judges, and for a route of the
    /// router.
    key: Option<String>,
    owner: String,
    /// Order of the text: network, then peer.
    rank: (usize, usize),
    /// The subnet of an underlay, of which single addresses may be behind a peer.
    shared: bool,
}

impl Row {
    fn is_alone(&self) -> bool {
        self.key.is_some() && self.net.prefix_len() == self.net.max_prefix_len()
    }
}

/// Reports every mistake. Of two that collide the later is reported.
pub(crate) fn all(networks: &[Draft], routers: &[router::Draft], sink: &mut Sink) {
    let mut tables: HashMap<&RouterName, Vec<Row>> = HashMap::new();
    let mut cidrs: HashMap<&RouterName, Vec<Row>> = HashMap::new();
    for (at, draft) in networks.iter().enumerate().filter(|(_, draft)| draft.kind && draft.routing) {
        let Some(router) = &draft.network.router else { continue };
        let table = tables.entry(router).or_default();
        let subnets = draft.network.gateways.iter();
        table.extend(subnets.map(|net| Row {
            net: net.trunc(),
            key: None,
            owner: label(draft),
            rank: (at, 0),
            shared: draft.network.underlay().is_some(),
        }));
        let Some(overlay) = draft.network.overlay() else { continue };
        for (i, peer) in overlay.peers.iter().enumerate() {
            table.extend(peer.prefixes.iter().enumerate().map(|(j, net)| Row {
                net: *net,
                key: Some(draft.key(&format!("peers[{i}].prefixes[{j}]"))),
                owner: format!("peer {}", peer.address),
                rank: (at, i + 1),
                shared: false,
            }));
        }
        cidrs.entry(router).or_default().extend(overlay.cidr.iter().map(|net| Row {
            net: *net,
            key: Some(draft.key("cidr")),
            owner: format!("the cidr of {}", label(draft)),
            rank: (at, 0),
            shared: false,
        }));
    }
    for (router, mut table) in tables {
        overlaps(&mut table, sink);
        table.extend(given(router, routers));
        // A cidr holds prefixes of its peers by nature; only the same one twice is a mistake.
        table.extend(cidrs.remove(router).unwrap_or_default());
        twice(&table, sink);
    }
}

/// The routes that the router is given.
fn given<'a>(name: &'a RouterName, routers: &'a [router::Draft]) -> impl Iterator<Item = Row> + 'a {
    let router = routers.iter().filter(move |router| router.name.as_ref() == Some(name));
    let routes = router.flat_map(|router| router.routes.iter().flatten().flatten());
    routes.map(move |route| Row {
        net: route.to,
        key: None,
        owner: format!("routes of router {name}"),
        rank: (0, 0),
        shared: false,
    })
}

/// Reports prefixes that overlap one that comes before in the text.
fn overlaps(table: &mut [Row], sink: &mut Sink) {
    // A prefix comes before all that it holds, so what holds the present one is on the stack.
    table.sort_by_key(|row| (row.net.addr().is_ipv6(), row.net.network(), row.net.prefix_len(), row.rank));
    let mut around: Vec<&Row> = Vec::new();
    for row in table.iter() {
        while around.last().is_some_and(|outer| !outer.net.contains(&row.net)) {
            around.pop();
        }
        let apart = |outer: &Row| outer.shared && row.is_alone() && outer.net != row.net;
        if let Some(outer) = around.last().filter(|outer| !apart(outer)) {
            let (first, second) = if outer.rank <= row.rank { (*outer, row) } else { (row, *outer) };
            // Of a subnet and a prefix the prefix is the mistake.
            let (wrong, other) = if second.key.is_some() { (second, first) } else { (first, second) };
            if let Some(key) = &wrong.key {
                let message = format!(
                    "{} overlaps {} of {}; give each address to one of them",
                    wrong.net, other.net, other.owner
                );
                sink.report(key, message);
            }
        }
        around.push(row);
    }
}

/// Reports every `cidr`, and every prefix of a peer, for which there is another row.
fn twice(table: &[Row], sink: &mut Sink) {
    let mut known: HashMap<IpNet, &Row> = HashMap::new();
    for row in table {
        let Some(first) = known.insert(row.net, row) else { continue };
        // Peers and subnets among themselves were judged before.
        let cidr = |row: &Row| row.key.as_ref().is_some_and(|key| key.ends_with(".cidr"));
        let (wrong, other) = if row.key.is_some() { (row, first) } else { (first, row) };
        let route = other.key.is_none() && other.owner.starts_with("routes of");
        if let Some(key) = wrong.key.as_ref().filter(|_| cidr(wrong) || route) {
            let message = format!("{} is in {} already; remove one of the two", wrong.net, other.owner);
            sink.report(key, message);
        }
    }
}
