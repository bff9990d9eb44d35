//! `shunt show services`: a line for each service, and one for each of its endpoints.

use super::client::Client;
use super::table::Table;
use super::{Failure, output};
use crate::control::api::proto;

/// Asks for all services, or the one called `name`, and prints them.
///
/// # Errors
/// That there is none of that name, what the daemon refused, or that it is gone.
pub(super) async fn run(client: &mut Client, name: Option<&str>, json: bool) -> Result<(), Failure> {
    let mut rows = Vec::new();
    let mut from = 0;
    loop {
        let request = proto::ShowServicesRequest { name: name.unwrap_or_default().to_owned(), from };
        let page = client.show_services(request).await?;
        rows.extend(page.services);
        match page.next {
            Some(next) => from = next,
            None => break,
        }
    }
    if let (Some(name), true) = (name, rows.is_empty()) {
        let message =
            format!("there is no service {name:?}; `shunt show services` lists them, as namespace/name");
        return Err(Failure::refused(message));
    }
    output(json, &rows, || services(&rows))
}

/// The services, then their endpoints.
#[must_use]
pub fn services(rows: &[proto::Service]) -> String {
    if rows.is_empty() {
        return "there are no services; docs/services.md says how to make some\n".to_owned();
    }
    let mut table = Table::new(&["SERVICE", "ROUTER", "PORTS", "POLICY", "AFFINITY", "ADDRESSES"]);
    for row in rows {
        let ports: Vec<_> = row.ports.iter().map(port).collect();
        let addresses: Vec<_> = row.addresses.iter().map(address).collect();
        table.row([
            row.name.clone(),
            row.router.clone(),
            ports.join(" "),
            policy(row).to_owned(),
            row.affinity.map_or_else(|| "-".to_owned(), |seconds| format!("{seconds}s")),
            addresses.join(" "),
        ]);
    }
    let mut text = table.render();
    if rows.iter().all(|row| row.endpoints.is_empty()) {
        return text;
    }
    let mut table = Table::new(&["SERVICE", "ENDPOINT", "STATE", "NEW", ">WEIGHT", "NODE", "PORTS"]);
    for (row, endpoint) in
        rows.iter().flat_map(|row| row.endpoints.iter().map(move |endpoint| (row, endpoint)))
    {
        let node = match (endpoint.local, endpoint.node.as_str()) {
            (true, _) => "here",
            (false, "") => "-",
            (false, node) => node,
        };
        table.row([
            row.name.clone(),
            endpoint.address.clone(),
            endpoint.state.clone(),
            if endpoint.takes { "yes" } else { "no" }.to_owned(),
            endpoint.weight.to_string(),
            node.to_owned(),
            endpoint.ports.join(" "),
        ]);
    }
    text.push('\n');
    text.push_str(&table.render());
    text
}

/// `http:80/tcp@30080`: name, port, protocol and node port; with what nobody answers for.
fn port(port: &proto::ServicePort) -> String {
    let name = if port.name.is_empty() { String::new() } else { format!("{}:", port.name) };
    let node = if port.node_port == 0 { String::new() } else { format!("@{}", port.node_port) };
    let nobody = if port.taking == 0 { "(nobody)" } else { "" };
    format!("{name}{}/{}{node}{nobody}", port.port, port.protocol)
}

/// An address, with what it is unless it is one of the cluster.
fn address(address: &proto::ServiceAddress) -> String {
    match address.kind.as_str() {
        "cluster" => address.address.clone(),
        kind => format!("{}({kind})", address.address),
    }
}

fn policy(row: &proto::Service) -> &'static str {
    match (row.external_local, row.internal_local) {
        (false, false) => "cluster",
        (true, false) => "ext-local",
        (false, true) => "int-local",
        (true, true) => "local",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_is_a_line_and_each_endpoint_one() {
        let endpoint =
            |address: &str, state: &str, takes: bool, node: &str, local: bool| proto::ServiceEndpoint {
                address: address.into(),
                ports: vec!["http=8080".into()],
                state: state.into(),
                local,
                node: node.into(),
                weight: 1,
                takes,
            };
        let row = proto::Service {
            name: "shop/web".into(),
            router: "r".into(),
            addresses: vec![
                proto::ServiceAddress { address: "10.96.0.10".into(), kind: "cluster".into() },
                proto::ServiceAddress { address: "192.168.50.100".into(), kind: "load-balancer".into() },
            ],
            ports: vec![
                proto::ServicePort {
                    name: "http".into(),
                    protocol: "tcp".into(),
                    port: 80,
                    node_port: 30080,
                    taking: 1,
                },
                proto::ServicePort {
                    name: "s".into(),
                    protocol: "udp".into(),
                    port: 53,
                    node_port: 0,
                    taking: 0,
                },
            ],
            affinity: Some(600),
            external_local: true,
            internal_local: false,
            endpoints: vec![
                endpoint("10.16.0.11", "ready", true, "", true),
                endpoint("10.16.1.12", "terminating", false, "node-b", false),
            ],
        };
        let text = services(&[row]);
        let lines: Vec<_> =
            text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
        assert_eq!(
            lines,
            [
                "SERVICE ROUTER PORTS POLICY AFFINITY ADDRESSES",
                "shop/web r http:80/tcp@30080 s:53/udp(nobody) ext-local 600s 10.96.0.10",
                "192.168.50.100(load-balancer)",
                "",
                "SERVICE ENDPOINT STATE NEW WEIGHT NODE PORTS",
                "shop/web 10.16.0.11 ready yes 1 here http=8080",
                "shop/web 10.16.1.12 terminating no 1 node-b http=8080",
            ]
        );
        assert!(services(&[]).starts_with("there are no services"));
    }
}
