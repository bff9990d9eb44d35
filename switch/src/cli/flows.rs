//! `shunt dump-flows --cached`: one line for each cached flow.

use super::client::Client;
use super::options::DumpFlows;
use super::table::Table;
use super::{Failure, output};
use crate::control::api::proto;

/// What is asked of the daemon.
pub fn request(wanted: &DumpFlows) -> proto::DumpFlowsRequest {
    proto::DumpFlowsRequest { port: wanted.port.clone().unwrap_or_default(), limit: wanted.limit }
}

/// Asks and prints.
pub(super) async fn run(
    client: &mut Client,
    request: proto::DumpFlowsRequest,
    json: bool,
) -> Result<(), Failure> {
    let flows = client.dump_flows(request).await?;
    output(json, &flows, || text(&flows))
}

/// The flows as a table whose lines are as long as they must be.
pub fn text(flows: &proto::Flows) -> String {
    if flows.flows.is_empty() {
        return "no flow is cached\n".to_owned();
    }
    let mut table =
        Table::new(&[">WORKER", "PORT", ">PACKETS", ">BYTES", ">SEEN-S", ">GENERATION", "MATCH", "ACTIONS"])
            .within(usize::MAX);
    for flow in &flows.flows {
        let stale = if flow.stale { " (stale: decided anew by the next frame)" } else { "" };
        table.row([
            flow.worker.to_string(),
            flow.port.clone(),
            flow.packets.to_string(),
            flow.bytes.to_string(),
            flow.age.to_string(),
            flow.generation.to_string(),
            flow.r#match.clone(),
            format!("{}{stale}", flow.actions.join(", ")),
        ]);
    }
    let mut text = table.render();
    if flows.more > 0 {
        text.push_str(&format!("and {} more with fewer packets; raise --limit to see them\n", flows.more));
    }
    text
}
