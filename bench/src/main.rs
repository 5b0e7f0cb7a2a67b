//! `make bench`: one scenario, ours and the peer in interleaved rounds, and the table for docs/benchmarks.md.

mod attach;
mod console;
mod fault;
mod first;
mod memory;

use anyhow::{Context, Result, bail};
use clap::{Parser, ValueEnum};

/// Measures Hubward beside a peer in one interleaved run on this machine.
#[derive(Parser)]
struct Args {
    /// What to measure.
    scenario: Scenario,
    /// Rounds of each system; the first is dropped.
    #[arg(long, default_value_t = 8)]
    rounds: usize,
    /// Seconds of load in each round.
    #[arg(long, default_value_t = 5)]
    seconds: u64,
    /// Devices of each system (first, fault: 1000, attach: 3000, memory: 2500).
    #[arg(long)]
    devices: Option<usize>,
    /// Of the faults only this one, by its name in the table (fault).
    #[arg(long)]
    only: Option<String>,
}

#[derive(Clone, Copy, ValueEnum)]
enum Scenario {
    /// Signals a second accepted by the hub, beside the Node.js bridge.
    First,
    /// How long it takes to attach all devices of an integration.
    Attach,
    /// What an idle device costs.
    Memory,
    /// What one broken device costs the others.
    Fault,
    /// How long the reads behind the console's pages take, with 10,000 devices and a million signals.
    Console,
}

#[tokio::main]
async fn main() -> Result<()> {
    let args = Args::parse();
    if rustls::crypto::aws_lc_rs::default_provider().install_default().is_err() {
        bail!("a crypto provider was installed before");
    }
    if args.rounds < 2 {
        bail!("the first round is dropped, so it takes at least 2");
    }
    let folder = tempfile::tempdir().context("make a folder")?;
    match args.scenario {
        Scenario::First => first::run(&args, folder.path()).await,
        Scenario::Attach => attach::run(&args, folder.path()).await,
        Scenario::Fault => fault::run(&args, folder.path()).await,
        Scenario::Memory => memory::run(&args, folder.path()).await,
        Scenario::Console => console::run(&args, folder.path()).await,
    }
}
