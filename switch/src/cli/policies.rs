//! `shunt show policies`, `shunt drops --why`: policies, and what they refuse.

use super::client::Client;
use super::options::Drops;
use super::table::Table;
use super::{Failure, output, show};
use crate::control::api::proto;

/// Lists what was dropped; with `--why` the flows that are refused, and by what.
///
/// # Errors
/// What the daemon refused, or that it is gone.
pub(super) async fn drops(client: &mut Client, wanted: &Drops, json: bool) -> Result<(), Failure> {
    if !wanted.why {
        let rows = client.show_drops(proto::ShowDropsRequest {}).await?.drops;
        return output(json, &rows, || show::drops(&rows));
    }
    let request = proto::ShowRefusalsRequest { limit: wanted.limit };
    let rows = client.show_refusals(request).await?.refusals;
    output(json, &rows, || refusals(&rows))
}

/// Flows that are refused.
#[must_use]
pub fn refusals(rows: &[proto::Refusal]) -> String {
    if rows.is_empty() {
        return "nothing is refused now\n".to_owned();
    }
    let mut table = Table::new(&["PORT", "FROM", "TO", "WHAT", ">PACKETS", ">AGE-S", "REASON", "WHY"]);
    for row in rows {
        let what = match row.destination_port {
            Some(port) => format!("{} {port}", row.protocol),
            None => row.protocol.clone(),
        };
        table.row([
            row.port.clone(),
            row.source.clone(),
            row.destination.clone(),
            what,
            row.packets.to_string(),
            row.age.to_string(),
            row.reason.clone(),
            row.why.clone(),
        ]);
    }
    table.render()
}

/// The policies.
#[must_use]
pub fn policies(rows: &[proto::Policy]) -> String {
    if rows.is_empty() {
        return "there are no policies: everybody may talk to everybody\n".to_owned();
    }
    let rules = |rules: Option<u64>| rules.map_or_else(|| "-".to_owned(), |rules| rules.to_string());
    let mut table = Table::new(&[
        "TIER",
        ">PRIORITY",
        "NAMESPACE",
        "NAME",
        ">PODS",
        ">INGRESS-RULES",
        ">EGRESS-RULES",
        "ACTION",
    ]);
    for row in rows {
        table.row([
            row.tier.clone(),
            row.priority.map_or_else(|| "-".to_owned(), |priority| priority.to_string()),
            if row.namespace.is_empty() { "-".to_owned() } else { row.namespace.clone() },
            row.name.clone(),
            row.pods.to_string(),
            rules(row.ingress),
            rules(row.egress),
            if row.rejects { "reject" } else { "drop" }.to_owned(),
        ]);
    }
    table.render()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_says_who_and_why() {
        let row = proto::Refusal {
            port: "web".into(),
            reason: "policy_ingress".into(),
            direction: "ingress".into(),
            why: "allowed by no rule of shop/deny-all, which isolate the pod".into(),
            source: "10.16.0.2".into(),
            destination: "10.16.0.3".into(),
            protocol: "tcp".into(),
            destination_port: Some(22),
            packets: 3,
            bytes: 180,
            age: 1,
        };
        let text = refusals(&[row]);
        assert!(text.contains("web   10.16.0.2  10.16.0.3  tcp 22"), "{text}");
        assert!(text.contains("shop/deny-all"), "{text}");
        let policy = proto::Policy {
            tier: "policy".into(),
            namespace: "shop".into(),
            name: "deny-all".into(),
            pods: 2,
            ingress: Some(0),
            ..proto::Policy::default()
        };
        let text = policies(&[policy]);
        let line = text.lines().nth(1).unwrap_or_default();
        assert_eq!(
            line.split_whitespace().collect::<Vec<_>>(),
            ["policy", "-", "shop", "deny-all", "2", "0", "-", "drop"]
        );
    }
}
