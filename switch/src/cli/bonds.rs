//! `shunt show bonds`: a line for each bond, and one for each of its members.

use super::client::Client;
use super::table::Table;
use super::{Failure, output};
use crate::control::api::proto;

/// Asks for all bonds and prints them.
///
/// # Errors
/// What the daemon refused, or that it is gone.
pub(super) async fn run(client: &mut Client, json: bool) -> Result<(), Failure> {
    let rows = client.show_bonds(proto::ShowBondsRequest {}).await?.bonds;
    output(json, &rows, || bonds(&rows))
}

/// The bonds, then their members.
#[must_use]
pub fn bonds(rows: &[proto::Bond]) -> String {
    if rows.is_empty() {
        return "there are no bonds; docs/bonds.md says how to make one\n".to_owned();
    }
    let dash = |text: &str| if text.is_empty() { "-".to_owned() } else { text.to_owned() };
    let mut table =
        Table::new(&["BOND", "MODE", "STATE", "CARRYING", "RATE", "HASH", "SYSTEM", "PARTNER", ">CHANGES"]);
    for row in rows {
        let carrying: Vec<_> = row.members.iter().filter(|member| member.distributing).collect();
        let partner = carrying.iter().find_map(|member| member.partner.as_ref());
        table.row([
            row.port.clone(),
            row.mode.clone(),
            if row.up { "up" } else { "down" }.to_owned(),
            format!("{} of {}", carrying.len(), row.members.len()),
            dash(&row.rate),
            dash(&row.hash),
            dash(&row.system),
            partner.map_or_else(|| "-".to_owned(), |partner| partner.system.clone()),
            row.changes.to_string(),
        ]);
    }
    let mut text = table.render();
    text.push('\n');
    let mut table = Table::new(&[
        "BOND",
        "MEMBER",
        "LINK",
        "RECEIVE",
        "MUX",
        "ACTOR",
        "PARTNER",
        ">LACPDUS-IN",
        ">OUT",
        ">RX-PKTS",
        ">TX-PKTS",
        ">REFUSED",
    ]);
    for (row, member) in rows.iter().flat_map(|row| row.members.iter().map(move |member| (row, member))) {
        let mux = if row.mode == "lacp" { member.mux.clone() } else { carries(member).to_owned() };
        table.row([
            row.port.clone(),
            member.name.clone(),
            if member.link { "up" } else { "down" }.to_owned(),
            dash(&member.receive),
            mux,
            side(member.actor.as_ref()),
            side(member.partner.as_ref()),
            member.lacpdus_heard.to_string(),
            member.lacpdus_sent.to_string(),
            member.rx_packets.to_string(),
            member.tx_packets.to_string(),
            member.refused.to_string(),
        ]);
    }
    text.push_str(&table.render());
    text
}

fn carries(member: &proto::BondMember) -> &'static str {
    if member.distributing { "active" } else { "backup" }
}

/// Port, key, and the state as letters, a capital where the bit is set: Activity, Timeout (short), Gregation, Synchronization, Collecting,
/// Distributing, deFaulted, Expired; as `teamdctl` and others print it.
fn side(side: Option<&proto::BondSide>) -> String {
    const LETTERS: [(&str, char); 8] = [
        ("activity", 'a'),
        ("timeout", 't'),
        ("aggregation", 'g'),
        ("synchronization", 's'),
        ("collecting", 'c'),
        ("distributing", 'd'),
        ("defaulted", 'f'),
        ("expired", 'e'),
    ];
    let Some(side) = side else { return "-".to_owned() };
    let letter = |(word, letter): &(&str, char)| {
        if side.state.iter().any(|bit| bit == word) { letter.to_ascii_uppercase() } else { *letter }
    };
    let state: String = LETTERS.iter().map(letter).collect();
    format!("port {} key {} {state}", side.port, side.key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bond_and_its_members() {
        let actor = proto::BondSide {
            port: 1,
            key: 1,
            state: ["activity", "aggregation", "synchronization"].map(str::to_owned).into(),
            ..Default::default()
        };
        let partner =
            proto::BondSide { system: "02:00:00:00:00:01".into(), port: 7, key: 3, ..Default::default() };
        let member = proto::BondMember {
            name: "nic0".into(),
            link: true,
            distributing: true,
            receive: "current".into(),
            mux: "distributing".into(),
            actor: Some(actor),
            partner: Some(partner),
            ..Default::default()
        };
        let down = proto::BondMember { name: "nic1".into(), ..Default::default() };
        let bond = proto::Bond {
            port: "bond0".into(),
            mode: "lacp".into(),
            up: true,
            members: vec![member, down],
            ..Default::default()
        };
        let text = bonds(&[bond]);
        assert!(text.contains("1 of 2") && text.contains("02:00:00:00:00:01"), "{text}");
        assert!(text.contains("port 1 key 1 AtGScdfe") && text.contains("port 7 key 3 atgscdfe"), "{text}");
        assert!(bonds(&[]).contains("docs/bonds.md"));
    }
}
