//! Scenario `fault`: what one broken device costs the others, in rounds with and without it in turn.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use hubward_bench::loader;
use hubward_bench::system::{self, Hub, System};
use hubward_iothub::connection_string::EventHubsString;
use hubward_iothub::reader::{Options, Reader, Start};
use hubward_iothub::tls;
use tokio::net::TcpStream;

use crate::Args;

/// Every device sends one signal in this time.
const EVERY: Duration = Duration::from_secs(1);
/// Payload, in bytes.
const SIZE: usize = 200;
/// How long the next event may take.
const PATIENCE: Duration = Duration::from_secs(60);
/// What the others' 99th percentile may grow to.
const BOUND: f64 = 2.0;

/// What is wrong with the broken device: its name, and what is asked of the hub.
const FAULTS: [(&str, &[&str]); 3] = [
    ("disabled", &["disabled", "--for", "1d"]),
    ("link stolen", &["link-stolen", "--count", "1000000"]),
    ("silent", &["no-disposition", "--for", "1d"]),
];

pub(crate) async fn run(args: &Args, folder: &Path) -> Result<()> {
    let count = args.devices.unwrap_or(1000);
    let hub = Hub::start(folder)?;
    let ours = system::hubward(folder, &hub).await?.with_devices(folder, &hub, count + 1).await?;
    let mut streams = loader::connect(&ours.mqtt, &ours.devices).await?;
    let broken = ours.devices.last().context("there is a device to be broken")?.username.clone();
    let broken = ours.hub_device_id(&broken).await?;
    println!(
        "{count} devices, one signal a second each, {SIZE} B, QoS 1, to one local hub; sending to being stored there\n"
    );
    println!("| one more device is | p50 without | p50 with | p99 without | p99 with | times |");
    println!("|---|---|---|---|---|---|");
    let mut worst: f64 = 0.0;
    for (name, fault) in FAULTS {
        let (mut without, mut with) = (Vec::new(), Vec::new());
        for number in 0..args.rounds {
            let fine = round(&hub, &ours, &mut streams, count, args.seconds).await?;
            hub.fault(folder, fault, Some(&broken))?;
            let hurt = round(&hub, &ours, &mut streams, count, args.seconds).await?;
            hub.fault(folder, &["clear", "--all"], None)?;
            // The first round warms up.
            if number > 0 {
                without.extend(fine);
                with.extend(hurt);
            }
        }
        without.sort_unstable();
        with.sort_unstable();
        let (before, after) = (percentile(&without, 99), percentile(&with, 99));
        let times = after / before.max(1.0);
        worst = worst.max(times);
        let (p50, p50_with) = (percentile(&without, 50), percentile(&with, 50));
        println!("| {name} | {p50:.0} ms | {p50_with:.0} ms | {before:.0} ms | {after:.0} ms | {times:.2} |");
    }
    println!("\nThe others' 99th percentile grew to {worst:.2} times at most; the bound is {BOUND}.");
    ensure!(worst <= BOUND, "one broken device delays the others");
    Ok(())
}

/// One round: every device sends once a second; answers the delays of all but the last device, in milliseconds.
async fn round(hub: &Hub, ours: &System, streams: &mut Vec<TcpStream>, count: usize, seconds: u64) -> Result<Vec<u64>> {
    let broken = ours.devices.last().context("there is a device to be broken")?.username.clone();
    let string: EventHubsString = hub.string("eventhubs")?.parse().context("the reader's string")?;
    let tls = Arc::new(tls::client_config(None)?);
    let options = Options { start: Start::Latest, ..Options::default() };
    let mut reader = Reader::open(&string, &tls, &options).await.context("open the built-in endpoint")?;
    let times = usize::try_from(seconds).unwrap_or(usize::MAX);
    let begun = loader::now_micros();
    let taken = std::mem::take(streams);
    let sending = tokio::spawn(loader::paced(taken, ours.devices.clone(), SIZE, EVERY, times));
    let mut delays = Vec::with_capacity(count * times);
    let last = Instant::now() + PATIENCE + Duration::from_secs(seconds);
    while delays.len() < count * times {
        let event = tokio::time::timeout_at(last.into(), reader.next()).await;
        let event = event.with_context(|| format!("{} of {} signals arrived", delays.len(), count * times))??;
        let sent =
            event.body.get(..8).and_then(|bytes| bytes.try_into().ok()).map(u64::from_be_bytes).unwrap_or_default();
        // What an earlier round left, and what the broken one sends, is not judged.
        if sent < begun || event.device_id.as_deref().is_none_or(|id| id.ends_with(&broken)) {
            continue;
        }
        let stored = event.enqueued_at.context("the hub says when it stored an event")?;
        delays.push(loader::micros_of(stored).saturating_sub(sent) / 1000);
    }
    reader.close().await;
    *streams = sending.await??;
    Ok(delays)
}

fn percentile(sorted: &[u64], share: usize) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "milliseconds of a round are few")]
    let value = sorted.get(sorted.len().saturating_sub(1) * share / 100).copied().unwrap_or_default() as f64;
    value
}
