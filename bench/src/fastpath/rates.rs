//! Frames a second on the one-way path: ours, ours with a full key, the peer and the floor in turn.

use anyhow::Result;

use super::network::FlowCache;
use crate::contest::{Field, Rival, hold_all};
use crate::cores;
use crate::figure::{Bar, Cell, Figure};
use crate::oneway::{self, Input, Rules, Settings, open_vswitch, ours, testpmd_io};
use crate::plan::Plan;

/// Entries of the flow cache: the daemon's default, and the most it takes.
const LEAST_ENTRIES: u32 = 262_144;
const MOST_ENTRIES: u32 = 4_194_304;

/// What one row is made of.
pub struct Row {
    /// Scenario and flows.
    pub cell: Cell,
    /// For a reader of the table.
    pub what: String,
    /// What it is to reach.
    pub bar: Bar,
    /// What comes in.
    pub input: Input,
    /// shuntd's configuration with a given flow cache.
    pub settings: fn(FlowCache) -> Settings,
    /// The flow cache of ours.
    pub cache: FlowCache,
    /// Whether ours is measured with a full key, too.
    pub variant: bool,
    /// Open vSwitch's rules.
    pub rules: Rules,
    /// Name of the peer in the table.
    pub peer: &'static str,
    /// What a reader must know.
    pub note: Option<&'static str>,
}

/// Measures a row.
///
/// # Errors
/// Ours failed, too few hugepages, or a signal came.
pub fn measure(plan: &Plan, row: &Row) -> Result<Figure> {
    let name = format!("{}-{}", row.cell.scenario, row.cell.flows);
    let mut figure = Figure::new(name, row.what.clone(), "Mpps", row.bar);
    figure.cell = Some(row.cell.clone());
    let (input, window) = (&row.input, plan.window());
    // One set of pages for all contestants: the pool is not remade between the turns.
    let _pages = oneway::pages(input)?;
    let plain = (row.settings)(row.cache);
    // Each flow has an entry of its own, and room for it.
    let entries = (2 * row.cell.flows).next_power_of_two().clamp(LEAST_ENTRIES, MOST_ENTRIES);
    let full = (row.settings)(FlowCache { full_key: true, entries: Some(entries), ..FlowCache::default() });
    let full_key = || ours(input, &full, window);
    let peer = || open_vswitch(input, &row.rules, window);
    let floor = || testpmd_io(input, window);
    let field = Field {
        variant: row.variant.then_some(Rival { name: "shunt, full key", run: &full_key }),
        peer: Some(Rival { name: row.peer, run: &peer }),
        floor: Some(Rival { name: "testpmd io", run: &floor }),
    };
    hold_all(plan, &mut figure, &|| ours(input, &plain, window), &field)?;
    if row.variant {
        figure
            .notes
            .push(format!("full key: every header field in the key, {entries} entries, one for each flow"));
    }
    let (switch, house) = (cores::SWITCH, cores::HOUSE);
    figure.notes.push(format!("switch on core {switch}, everything else on core {house}; busy polling"));
    if input.captures.len() > 1 {
        figure.notes.push(format!("{} sources, all contestants alike", input.captures.len()));
    }
    figure.notes.extend(row.note.map(str::to_owned));
    Ok(figure)
}
