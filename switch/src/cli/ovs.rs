//! `shunt dump-flows BRIDGE` as ovs-ofctl prints it, `shunt list` as ovs-vsctl does.

use super::client::Client;
use super::options::{DumpFlows, Record};
use super::{Failure, output};
use crate::control::api::proto;

/// Which rules.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct WantedRules {
    /// What is asked of the daemon.
    pub request: proto::DumpRulesRequest,
    /// Terms that a rule's match must have.
    pub terms: Vec<String>,
    /// What a rule must do, as the rules have it.
    pub actions: Vec<String>,
}

/// Reads the words of `dump-flows [BRIDGE] [table=N,FIELD=VALUE,...,actions=ACTION,...]`.
///
/// # Errors
/// A word has no place there, or the table is no number.
pub fn rules(wanted: &DumpFlows) -> Result<WantedRules, Failure> {
    let wrong = |what: String| Failure::bad_input(format!("shunt: dump-flows: {what}"));
    if let Some(port) = &wanted.port {
        return Err(wrong(format!("--port is for --cached; write `shunt dump-flows br-int in_port={port}`")));
    }
    let mut rules = WantedRules::default();
    for (index, word) in wanted.words.iter().enumerate() {
        // As ovs-ofctl, which wants the bridge first.
        if index == 0 && !word.contains('=') {
            rules.request.network.clone_from(word);
            continue;
        }
        // A whole flow, as documents have it: what it matches, then what it does.
        let (word, actions) = word.split_once("actions=").unwrap_or((word, ""));
        rules.actions.extend(parts(actions).flat_map(canonical_action));
        for term in parts(word) {
            match term.strip_prefix("table=") {
                Some(number) => {
                    let number = number.parse::<u8>();
                    let table =
                        number.map_err(|_| wrong(format!("{term}: a table is a number from 0 to 255")))?;
                    rules.request.table = Some(table.into());
                }
                None => rules.terms.push(canonical(term)),
            }
        }
    }
    Ok(rules)
}

/// What is between commas.
fn parts(text: &str) -> impl Iterator<Item = &str> {
    text.split(',').map(str::trim).filter(|part| !part.is_empty())
}

/// An action as the rules have it. What is no valid flow of Open vSwitch's, and is in documents all the same, stands for what it
/// means: `set_field:100->vlan_tag`, `push_vlan:100` (a tag with VLAN 100 is pushed; together they are one), `goto_table(16)`,
/// `output("veth")`.
fn canonical_action(action: &str) -> Vec<String> {
    let action = action.replace('"', "").replace('(', ":").replace(')', "");
    // OFPVID_PRESENT (OpenFlow 1.3 section 7.2.3.7).
    let tagged = |vid: u16| format!("set_field:{}->vlan_vid", vid | 0x1000);
    let set = action.strip_prefix("set_field:").and_then(|rest| rest.strip_suffix("->vlan_tag"));
    let pushed = action.strip_prefix("push_vlan:").and_then(|tag| tag.parse().ok());
    match (set.and_then(|vid| vid.parse().ok()), pushed) {
        (Some(vid), _) => vec![tagged(vid)],
        (_, Some(vid)) => vec!["push_vlan:0x8100".to_owned(), tagged(vid)],
        _ => vec![action],
    }
}

/// A term as the rules have it: names without quotes, and the field names that documents use for others.
fn canonical(term: &str) -> String {
    let term = term.replace('"', "");
    match term.split_once('=') {
        Some(("vlan_tag" | "vlan_vid", vid)) => format!("dl_vlan={vid}"),
        Some(("ip_dst", address)) => format!("nw_dst={address}"),
        _ => term,
    }
}

/// Asks and prints.
pub(super) async fn dump(client: &mut Client, wanted: WantedRules, json: bool) -> Result<(), Failure> {
    let mut rules = client.dump_rules(wanted.request).await?;
    rules.rules.retain(|rule| {
        let does = |action: &String| rule.actions.contains(action);
        wanted.terms.iter().all(|term| has(rule, term)) && wanted.actions.iter().all(does)
    });
    output(json, &rules, || format!("{}\n{}", header(&rules), text(&rules)))
}

/// Whether a rule has a term: in its match, or as its priority.
fn has(rule: &proto::Rule, term: &String) -> bool {
    match term.strip_prefix("priority=").map(str::parse::<u32>) {
        Some(Ok(priority)) => rule.priority == priority,
        _ => rule.r#match.contains(term),
    }
}

/// What stands above the rules, as ovs-ofctl's `NXST_FLOW reply` does: what their counters count.
fn header(rules: &proto::Rules) -> String {
    format!(
        "rules of generation {}; counted: in tables 0 to 18 the flows that are cached now, in table 20 all that was sent",
        rules.generation
    )
}

/// One line for each rule.
pub fn text(rules: &proto::Rules) -> String {
    rules.rules.iter().map(line).collect()
}

fn line(rule: &proto::Rule) -> String {
    let proto::Rule { table, priority, packets, bytes, cookie, age_us, .. } = rule;
    let (seconds, millis) = (age_us / 1_000_000, age_us / 1_000 % 1_000);
    let terms: String = rule.r#match.iter().flat_map(|term| [",", term]).collect();
    let actions = rule.actions.join(",");
    format!(
        " cookie={cookie:#x}, duration={seconds}.{millis:03}s, table={table}, n_packets={packets}, n_bytes={bytes}, priority={priority}{terms} actions={actions}\n"
    )
}

/// Asks for ports and prints their records.
pub(super) async fn list(
    client: &mut Client,
    record: Record,
    names: &[String],
    json: bool,
) -> Result<(), Failure> {
    let mut ports = client.show_ports(proto::ShowPortsRequest {}).await?.ports;
    if let Some(missing) = names.iter().find(|name| !ports.iter().any(|port| port.name == **name)) {
        return Err(Failure::bad_input(format!(
            "shunt: there is no port {missing:?}; `shunt show ports` lists them"
        )));
    }
    ports.retain(|port| names.is_empty() || names.contains(&port.name));
    output(json, &ports, || records(record, &ports))
}

/// The records, with an empty line between two of them.
pub fn records(record: Record, ports: &[proto::Port]) -> String {
    let texts = ports.iter().map(|port| match record {
        Record::Interface => interface(port),
        Record::Port => port_record(port),
    });
    texts.collect::<Vec<_>>().join("\n")
}

/// Columns of the OVS table Interface (ovs-vswitchd.conf.db(5)).
fn interface(port: &proto::Port) -> String {
    let up = |up: bool| if up { "up" } else { "down" }.to_owned();
    let open = port.admin_up && port.oper_up;
    let error = if open || !port.admin_up { "[]".to_owned() } else { quoted(&port.about) };
    let about = if port.oper_up && !port.about.is_empty() {
        format!("{{driver_name={}}}", quoted(&port.about))
    } else {
        "{}".to_owned()
    };
    let statistics = format!(
        "{{rx_bytes={}, rx_dropped={}, rx_missed_errors={}, rx_packets={}, tx_bytes={}, tx_packets={}}}",
        port.rx_bytes, port.drops, port.missed, port.rx_packets, port.tx_bytes, port.tx_packets
    );
    let macs: Vec<_> = port.endpoints.iter().filter_map(|it| it.split(' ').next()).collect();
    let external = match macs[..] {
        [] => "{}".to_owned(),
        _ => format!("{{attached-mac={}}}", quoted(&macs.join(" "))),
    };
    record(&[
        ("admin_state", up(port.admin_up)),
        ("error", error),
        ("external_ids", external),
        ("link_resets", port.deaths.to_string()),
        ("link_state", up(open && port.link)),
        ("mtu", port.mtu.to_string()),
        ("name", name(&port.name)),
        ("ofport", (port.slot + 1).to_string()),
        ("statistics", statistics),
        ("status", about),
        ("type", name(&port.kind)),
    ])
}

/// Columns of the OVS table Port.
fn port_record(port: &proto::Port) -> String {
    let (tagged, untagged) = (!port.trunks.is_empty(), port.tag.is_some());
    let mode = match (tagged, untagged, port.service_tag) {
        (true, _, true) => "dot1q-tunnel",
        (true, true, false) => "native-untagged",
        (true, false, false) => "trunk",
        (false, true, _) => "access",
        (false, false, _) => "[]",
    };
    let trunks: Vec<String> = port.trunks.iter().map(ToString::to_string).collect();
    record(&[
        ("external_ids", format!("{{network={}}}", name(&port.network))),
        ("interfaces", format!("[{}]", name(&port.name))),
        ("name", name(&port.name)),
        ("tag", port.tag.map_or_else(|| "[]".to_owned(), |tag| tag.to_string())),
        ("trunks", format!("[{}]", trunks.join(", "))),
        ("vlan_mode", mode.to_owned()),
    ])
}

fn record(columns: &[(&str, String)]) -> String {
    columns.iter().map(|(name, value)| format!("{name:<20}: {value}\n")).collect()
}

/// A name as ovs-vsctl prints it: quoted unless it is an identifier (ovs json.c, `string_needs_quotes`).
fn name(text: &str) -> String {
    let plain = |at: usize, it: char| {
        it.is_ascii_alphabetic() || it == '_' || at > 0 && (it.is_ascii_digit() || "-.".contains(it))
    };
    let identifier = !text.is_empty() && text.chars().enumerate().all(|(at, it)| plain(at, it));
    if identifier && text != "true" && text != "false" { text.to_owned() } else { quoted(text) }
}

fn quoted(text: &str) -> String {
    format!("{text:?}")
}
