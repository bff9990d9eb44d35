//! The bonds among the ports, as `shunt show bonds` prints them.

use serde::Serialize;

use super::Control;
use crate::port::bond::BondStatus;

/// A bond.
#[derive(Clone, Debug, Serialize)]
pub struct BondRow {
    /// Its port.
    pub port: String,
    /// How it is.
    #[serde(flatten)]
    pub status: BondStatus,
}

impl Control {
    /// All bonds that are open, by name.
    pub fn bonds(&self) -> Vec<BondRow> {
        let status = |port: &super::ports::PortState| {
            Some(BondRow { port: port.config.name.to_string(), status: port.bond()?.bond() })
        };
        let mut rows: Vec<BondRow> = self.ports.iter().filter_map(status).collect();
        rows.sort_by(|a, b| a.port.cmp(&b.port));
        rows
    }
}
