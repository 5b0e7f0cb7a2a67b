//! Scenario `first`: signals a second accepted by the hub, end to end.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use hubward_bench::loader::{self, Load};
use hubward_bench::rounds::{Ratio, median};
use hubward_bench::system::{self, Hub, System};
use hubward_bench::{arrived, usage};
use tokio::net::TcpStream;

use crate::{Args, memory};

/// Unacknowledged signals of each device.
const WINDOW: u16 = 16;
/// Payload, in bytes.
const SIZE: usize = 200;

/// One round of ours or the peer's.
struct Round {
    load: Load,
    /// From the first signal until the hub had accepted the last.
    accepted_in: Duration,
    processor: Duration,
}

impl Round {
    fn rate(&self) -> f64 {
        self.load.acknowledged as f64 / self.accepted_in.as_secs_f64()
    }
}

pub(crate) async fn run(args: &Args, folder: &Path) -> Result<()> {
    let count = args.devices.unwrap_or(1000);
    let hub = Hub::start(folder)?;
    let ours = system::hubward(folder, &hub).await?.with_devices(folder, &hub, count).await?;
    let peer = system::node_bridge(folder, &hub, count).await?;
    let (mut our_streams, mut peer_streams) =
        (loader::connect(&ours.mqtt, &ours.devices).await?, loader::connect(&peer.mqtt, &peer.devices).await?);
    let api = ours.api.as_ref().context("ours has an API")?;
    let (mut our_rounds, mut peer_rounds) = (Vec::new(), Vec::new());
    let before = api.journal().await?;
    for number in 0..args.rounds {
        our_rounds.push(round(&ours, &mut our_streams, args.seconds).await?);
        peer_rounds.push(round(&peer, &mut peer_streams, args.seconds).await?);
        let (our, peer) = (&our_rounds[number], &peer_rounds[number]);
        println!("round {number}: hubward {:.0}/s, bridge {:.0}/s", our.rate(), peer.rate());
    }
    let after = api.journal().await?;
    let grown = |key: &str| after[key].as_f64().unwrap_or_default() - before[key].as_f64().unwrap_or_default();
    let sent: u64 = our_rounds.iter().chain(&peer_rounds).map(|round| round.load.acknowledged).sum();
    let arrived = arrived::read(hub.string("eventhubs")?, sent).await?;
    let rates = |rounds: &[Round]| rounds.iter().map(Round::rate).collect::<Vec<_>>();
    let ratio = Ratio::of(&rates(&our_rounds), &rates(&peer_rounds));
    let apart = folder.join("memory");
    std::fs::create_dir(&apart)?;
    let memory = memory::slope(&apart, count / 2, count * 5 / 2).await?;
    let kept = args.rounds - 1;
    println!("\n{count} devices, {SIZE} B, QoS 1, {WINDOW} in flight each, TLS to one local hub, {kept} rounds\n");
    println!("| | Hubward | aedes + Node.js device SDK |");
    println!("|---|---|---|");
    println!("| PUBACK means | on disk here | accepted by the hub |");
    let line = |name: &str, of: &dyn Fn(&Round) -> f64, unit: &str| {
        let value = |rounds: &[Round]| median(&rounds.iter().map(of).collect::<Vec<_>>());
        println!("| {name} | {:.0} {unit} | {:.0} {unit} |", value(&our_rounds), value(&peer_rounds));
    };
    line("signals accepted by the hub", &Round::rate, "/s");
    line("send to PUBACK, median", &|round| round.load.p50.as_secs_f64() * 1000.0, "ms");
    line("send to PUBACK, 99 %", &|round| round.load.p99.as_secs_f64() * 1000.0, "ms");
    let processor = |round: &Round| round.processor.as_secs_f64() * 1e6 / round.load.acknowledged as f64;
    line("processor time a signal", &processor, "µs");
    println!("| idle memory a device, with its link to the hub | {:.1} KB | - |", memory / 1024.0);
    println!("| signals a commit | {:.0} | no journal |", grown("records") / grown("commits").max(1.0));
    println!("\nHubward delivers {ratio} the signals of the bridge.");
    println!(
        "At the hub: {} events for {sent} signals, {} repeated, {} out of order.",
        arrived.events, arrived.repeats, arrived.out_of_order
    );
    Ok(())
}

async fn round(system: &System, streams: &mut Vec<TcpStream>, seconds: u64) -> Result<Round> {
    let before = usage::processor_time(system.process.id())?;
    let began = Instant::now();
    let taken = std::mem::take(streams);
    let (load, back) = loader::run(taken, &system.devices, WINDOW, SIZE, Duration::from_secs(seconds)).await?;
    *streams = back;
    if let Some(api) = &system.api {
        api.wait_for("the backlog drains", system::drained).await?;
    }
    let accepted_in = began.elapsed();
    let processor = usage::processor_time(system.process.id())?.saturating_sub(before);
    Ok(Round { load, accepted_in, processor })
}
