//! Draws the plots of docs/performance.md from what `fastpath` measured.
//!
//! `plots [--results FILE] [--dir DIR]` prints what it wrote. Exit codes: 0 written, 1 not, 2 bad arguments.
#![forbid(unsafe_code)]

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::Parser;
use shunt_bench::plot;

/// Draws throughput by flow count and the distribution of latencies as SVG.
#[derive(Parser)]
struct Arguments {
    /// What `fastpath` wrote.
    #[arg(long, default_value = "target/bench/results.json")]
    results: PathBuf,
    /// Where the plots go.
    #[arg(long, default_value = "docs/img")]
    dir: PathBuf,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let path = arguments.results.display();
    let text = fs::read_to_string(&arguments.results)
        .with_context(|| format!("read {path}; measure with scripts/bench"))?;
    let results = serde_json::from_str(&text).with_context(|| format!("{path} is no JSON"))?;
    for written in plot::write_all(&results, &arguments.dir)? {
        println!("{}", written.display());
    }
    Ok(())
}
