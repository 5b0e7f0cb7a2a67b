//! A backlog against a hub with a tier: it drains as fast as the tier allows, the hub refuses next to nothing, and it needs no
//! more memory than a small one; also when the tier is not given and has to be learned.
//!
//! `HUBWARD_BACKLOG_SIGNALS=300000` makes it long (`make soak`) and holds rate and memory to their bounds; in `make test` it is
//! a few seconds' worth, in which a slow machine would be measured and not the pace.

#![allow(clippy::unwrap_used, reason = "a test may fail at any step")]

use std::time::{Duration, Instant};

use bytes::Bytes;
use hubward_tests::hub_fleet::resident_memory;
use hubward_tests::process::Surroundings;
use hubward_tests::{Device, Hub, ServerOptions, World};
use tokio::task::JoinSet;

/// What the server may hold more while it drains the long backlog than while it drained the short ones of the warm-up.
const GROWTH: u64 = 16 * 1024 * 1024;
/// So many backlogs of a tenth come first: what is kept for speed is full then.
const WARM_UPS: usize = 3;
/// The allocator gives back at once what is freed. Else each thread keeps some for a while, and how many threads there are is a
/// matter of how busy the machine is, not of the backlog.
const FREED_AT_ONCE: (&str, &str) = ("MIMALLOC_PURGE_DELAY", "0");
/// Operations a second that S1 allows; with two units the messages of a day are enough.
const ALLOWED: f64 = 100.0;
const DEVICES: usize = 20;

struct Drained {
    /// Send operations the hub took.
    taken: u64,
    refused: u64,
    time: Duration,
    /// The most memory the server held meanwhile.
    most_memory: u64,
}

/// What a long backlog is held to.
struct Bounds {
    /// Of what the hub allows, at least so much is used.
    share: f64,
    /// Of all transfers, at most one in so many is refused.
    one_refused_in: u64,
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backlog_drains_as_fast_as_the_tier_allows_without_refusals_and_in_bounded_memory() {
    backlog(&[], &["--tier", "s1", "--units", "2"], &Bounds { share: 0.95, one_refused_in: 1000 }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backlog_drains_at_a_pace_that_is_learned_from_few_refusals() {
    // This hub lets fewer wait than are under way at once, so it does refuse some.
    backlog(&["--queue", "100ms"], &[], &Bounds { share: 0.8, one_refused_in: 100 }).await;
}

async fn backlog(hub: &[&str], capacity: &[&str], bounds: &Bounds) {
    let long = std::env::var("HUBWARD_BACKLOG_SIGNALS").ok().map(|text| text.parse::<usize>().unwrap());
    let hub = Hub::start_with(&[&["--tier", "S1", "--units", "2"], hub].concat()).await.unwrap();
    let variables = vec![(FREED_AT_ONCE.0.to_owned(), FREED_AT_ONCE.1.to_owned())];
    let surroundings = Surroundings { variables, ..Surroundings::default() };
    let mut world = World::start_on(hub, ServerOptions::default().within(surroundings)).await.unwrap();
    let names: Vec<String> = (0..DEVICES).map(|number| format!("d{number}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let credentials = world.add_devices(&names).await.unwrap();
    let mut add = world.add_args("azure", "Temp").unwrap();
    add.extend(capacity.iter().chain(&["--all-devices"]).map(ToString::to_string));
    let shown = world.run(&add).await.unwrap();
    assert_eq!(shown["tier"].as_str().is_some(), !capacity.is_empty());
    let mut devices = Vec::new();
    for one in &credentials {
        devices.push(Device::connect(world.server.mqtt(), &one.id, &one.password).await.unwrap());
    }
    // In the short one a transfer carries one signal, so that there are enough transfers to be paced.
    let (signals, size) = long.map_or((60, 140_000), |signals| (signals, 2_000));
    let mut warm = resident_memory(world.server.pid().unwrap(), Duration::from_secs(2)).await.unwrap();
    for _ in 0..long.map_or(0, |_| WARM_UPS) {
        warm = warm.max(drain(&world, &mut devices, signals / 10, size).await.most_memory);
    }
    let drained = drain(&world, &mut devices, signals, size).await;
    println!(
        "{signals} signals in {} transfers in {:.1} s, {} refused; memory {} MB at most in the warm-up, then {} MB at most",
        drained.taken,
        drained.time.as_secs_f64(),
        drained.refused,
        warm >> 20,
        drained.most_memory >> 20
    );
    // One refusal more or less is nothing in a long run and much in a short one.
    let most = if long.is_some() { drained.taken / bounds.one_refused_in } else { drained.taken / 10 };
    assert!(drained.refused <= most, "{} of {} refused", drained.refused, drained.taken);
    if long.is_some() {
        #[expect(clippy::cast_precision_loss, reason = "a count of transfers is small")]
        let share = drained.taken as f64 / (ALLOWED * drained.time.as_secs_f64());
        assert!(share >= bounds.share, "{:.1} % of what the hub allows", share * 100.0);
        assert!(drained.most_memory <= warm + GROWTH, "{} MB, then {} MB", warm >> 20, drained.most_memory >> 20);
    }
    drop(devices);
    world.server.stop().await.unwrap();
    world.hub.stop().await.unwrap();
}

/// Lets a backlog grow while the integration is paused, and drains it.
async fn drain(world: &World, devices: &mut Vec<Device>, signals: usize, size: usize) -> Drained {
    let cli = world.server.cli();
    cli.json(&["integration", "pause", "azure"]).await.unwrap();
    let mut sending = JoinSet::new();
    let payload = Bytes::from(vec![b'x'; size]);
    let each = signals / devices.len();
    for mut device in devices.drain(..) {
        let payload = payload.clone();
        sending.spawn(async move {
            assert_eq!(device.stream(std::iter::repeat_n(payload, each)).await, each);
            device
        });
    }
    devices.extend(sending.join_all().await);
    let before = sends(&world.hub).await;
    let process = world.server.pid().unwrap();
    let begun = Instant::now();
    cli.json(&["integration", "resume", "azure"]).await.unwrap();
    let mut most_memory = 0;
    loop {
        most_memory = most_memory.max(resident_memory(process, Duration::from_millis(50)).await.unwrap());
        if world.show("azure").await.unwrap()["waiting"] == 0 {
            break;
        }
    }
    let time = begun.elapsed();
    let after = sends(&world.hub).await;
    Drained { taken: after.0 - before.0, refused: after.1 - before.1, time, most_memory }
}

/// Send operations that the hub admitted and refused so far.
async fn sends(hub: &Hub) -> (u64, u64) {
    let usage = hub.cli().json(&["local-hub", "usage"]).await.unwrap();
    let throttles = usage["throttles"].as_array().unwrap();
    let sends = throttles.iter().find(|throttle| throttle["name"] == "sends").unwrap();
    (sends["admitted"].as_u64().unwrap(), sends["refused"].as_u64().unwrap())
}
