//! Scenario `fault`: what one broken device costs the others, in rounds with and without it in turn.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use hubward_bench::loader;
use hubward_bench::rounds::Ratio;
use hubward_bench::system::{self, Hub, System};
use hubward_iothub::connection_string::EventHubsString;
use hubward_iothub::reader::{Options, Reader, Start};
use hubward_iothub::tls;
use tokio::net::TcpStream;

use crate::Args;

/// Every device sends one signal in this time.
const EVERY: Duration = Duration::from_millis(200);
/// Payload, in bytes.
const SIZE: usize = 200;
/// How long the next event may take.
const PATIENCE: Duration = Duration::from_secs(60);
/// What the others' 99th percentile may grow to.
const BOUND: f64 = 2.0;

/// What is wrong with the broken device: its name, how many times as long its rounds are, and what is asked of the hub.
const FAULTS: [(&str, u64, &[&str]); 7] = [
    ("disabled", 1, &["disabled", "--for", "1d"]),
    ("deleted", 1, &["deleted"]),
    ("given other keys", 1, &["rekeyed"]),
    ("used by another client", 1, &["link-stolen", "--count", "1000000"]),
    ("never answered", 1, &["no-disposition", "--for", "1d"]),
    ("sending what the hub refuses", 1, &["poison", "--containing", "xxx", "--for", "1d"]),
    // It takes half of the others with it until it is found: a moment, and all of a short round.
    ("ending its connection", 15, &["drop", "--after", "1", "--for", "1d"]),
];

pub(crate) async fn run(args: &Args, folder: &Path) -> Result<()> {
    let count = args.devices.unwrap_or(1000);
    let hub = Hub::start(folder)?;
    // Each round breaks another device, so that each shows how the fault begins: a lane tries less and less often.
    let all = count + FAULTS.len() * args.rounds;
    let ours = system::hubward(folder, &hub).await?.with_devices(folder, &hub, all).await?;
    let mut streams = loader::connect(&ours.mqtt, &ours.devices).await?;
    let rate = all as f64 / EVERY.as_secs_f64();
    println!(
        "{count} devices and those to be broken, one signal each in {EVERY:?} ({rate:.0} a second), {SIZE} B, QoS 1, to one \
         local hub; from sending to being read at the hub, {} rounds of {} s with and without in turn ({} s for the last)\n",
        args.rounds - 1,
        args.seconds,
        args.seconds * FAULTS[FAULTS.len() - 1].1
    );
    println!("| one device is | p50 without | p50 with | p99 without | p99 with | p99 with to p99 without |");
    println!("|---|---|---|---|---|---|");
    let mut worst: f64 = 0.0;
    let mut to_break = ours.devices.iter().skip(count);
    for (name, times, fault) in FAULTS {
        if args.only.as_ref().is_some_and(|only| only != name) {
            continue;
        }
        let seconds = args.seconds * times;
        let (mut without, mut with) = (Figures::default(), Figures::default());
        for _ in 0..args.rounds {
            let broken = &to_break.next().context("there is a device for each round")?.username;
            let broken = ours.hub_device_id(broken).await?;
            without.add(round(&hub, &ours, &mut streams, count, seconds).await?);
            hub.fault(folder, fault, Some(&broken))?;
            with.add(round(&hub, &ours, &mut streams, count, seconds).await?);
            hub.fault(folder, &["clear", "--all"], None)?;
        }
        let ratio = Ratio::of(&with.p99, &without.p99);
        // Rounds that differ too much say something of the machine, not of the fault.
        if ratio.concludes() {
            worst = worst.max(ratio.median);
        }
        let ([p50, p99], [p50_with, p99_with]) = (without.ms(), with.ms());
        println!("| {name} | {p50:.2} ms | {p50_with:.2} ms | {p99:.2} ms | {p99_with:.2} ms | {ratio} |");
    }
    if worst == 0.0 {
        println!("\nNo conclusion: the rounds of no fault agree; run it on a machine that does nothing else.");
    } else {
        println!(
            "\nWhere rounds agree, the others' 99th percentile grew to {worst:.1} times at most; the bound is {BOUND}."
        );
    }
    ensure!(worst <= BOUND, "one broken device delays the others");
    Ok(())
}

/// The delays of rounds, in microseconds.
#[derive(Default)]
struct Figures {
    /// 99th percentile of each round.
    p99: Vec<f64>,
    /// Every delay of all rounds but the first, which warms up.
    all: Vec<u64>,
}

impl Figures {
    fn add(&mut self, mut delays: Vec<u64>) {
        delays.sort_unstable();
        if !self.p99.is_empty() {
            self.all.extend(&delays);
        }
        self.p99.push(percentile(&delays, 99));
    }

    /// Half of all, and 99 % of all, took at most so many milliseconds.
    fn ms(mut self) -> [f64; 2] {
        self.all.sort_unstable();
        [50, 99].map(|share| percentile(&self.all, share) / 1000.0)
    }
}

/// One round: every device sends at its pace; answers the delays of the first `count` devices, in microseconds.
async fn round(hub: &Hub, ours: &System, streams: &mut Vec<TcpStream>, count: usize, seconds: u64) -> Result<Vec<u64>> {
    // By the end of what the hub calls them; none: it is not judged.
    let mut last_sent: HashMap<&str, u64> = HashMap::new();
    let begun = loader::now_micros();
    last_sent.extend(ours.devices.iter().take(count).map(|device| (device.username.as_str(), begun)));
    let string: EventHubsString = hub.string("eventhubs")?.parse().context("the reader's string")?;
    let tls = Arc::new(tls::client_config(None)?);
    let options = Options { start: Start::Latest, ..Options::default() };
    let mut reader = Reader::open(&string, &tls, &options).await.context("open the built-in endpoint")?;
    let times = usize::try_from(u128::from(seconds) * 1000 / EVERY.as_millis()).unwrap_or(usize::MAX);
    let taken = std::mem::take(streams);
    let sending = tokio::spawn(loader::paced(taken, ours.devices.clone(), SIZE, EVERY, times));
    let wanted = count * times;
    let mut delays = Vec::with_capacity(wanted);
    let last = Instant::now() + PATIENCE + Duration::from_secs(seconds);
    while delays.len() < wanted {
        let event = tokio::time::timeout_at(last.into(), reader.next()).await;
        let event = event.with_context(|| format!("{} of {wanted} signals arrived", delays.len()))??;
        let now = loader::now_micros();
        let sent =
            event.body.get(..8).and_then(|bytes| bytes.try_into().ok()).map(u64::from_be_bytes).unwrap_or_default();
        let id = event.device_id.as_deref().unwrap_or_default();
        let Some(last_sent) = id.rsplit('-').next().and_then(|device| last_sent.get_mut(device)) else { continue };
        // What an earlier round left and what comes once more is not judged.
        if sent > *last_sent {
            *last_sent = sent;
            delays.push(now.saturating_sub(sent));
        }
    }
    reader.close().await;
    *streams = sending.await??;
    Ok(delays)
}

fn percentile(sorted: &[u64], share: usize) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "microseconds of a round are few")]
    let value = sorted.get(sorted.len().saturating_sub(1) * share / 100).copied().unwrap_or_default() as f64;
    value
}
