//! A backlog drains as fast as the hub allows, and the hub has next to nothing to refuse: against a model of its throttle.

use std::time::Duration;

use hubward_model::{Capacity, Tier};
use tokio::time::Instant;

use super::world::World;
use crate::hub::fake::Throttle;
use crate::options::Options;

/// What draining a backlog came to.
#[derive(Debug)]
struct Drained {
    /// Transfers taken, as a share of what the hub allowed in the time it took.
    share: f64,
    /// Transfers refused, as a share of all.
    refused: f64,
    /// The same of links.
    links_refused: f64,
}

/// Drains a backlog of `devices`, each with so many transfers, into a hub of this size.
async fn drain(size: Capacity, given: bool, devices: usize, transfers: usize, latency: Duration) -> Drained {
    // The sizes of burst and queue are not documented; these are the local hub's.
    let rate = match size.tier() {
        Tier::S3 => 6000.0 * f64::from(size.units()),
        _ => 100.0,
    };
    let throttle = || Throttle::new(rate, rate, Duration::from_secs(2));
    let mut world = World::with(Options::default(), latency);
    world.hub.limit(throttle(), throttle());
    if given {
        world.ledger.edit(|integration| integration.settings.capacity = Some(size));
    }
    let devices: Vec<_> = (0..devices).map(|n| world.device(&format!("d{n}"))).collect();
    // Two of them are more than a transfer carries.
    let payload = bytes::Bytes::from(vec![7; 140_000]);
    for _ in 0..transfers {
        for device in &devices {
            world.publish(device, payload.clone());
        }
    }
    world.start().await;
    // What is opened first counts for the links.
    let began = Instant::now();
    world.settled().await;
    let time = began.elapsed().as_secs_f64();
    let (sends, links) = world.hub.limited().unwrap();
    world.stop().await;
    #[expect(clippy::cast_precision_loss, reason = "counts of a test are small")]
    let part = |part: u64, whole: u64| part as f64 / whole.max(1) as f64;
    #[expect(clippy::cast_precision_loss, reason = "counts of a test are small")]
    let expected = (devices.len() * transfers) as f64;
    assert!((part(sends.admitted, 1) - expected).abs() < 0.5, "each was sent once: {sends:?}");
    Drained {
        share: expected / (rate * time),
        refused: part(sends.refused, sends.admitted + sends.refused),
        links_refused: part(links.refused, links.admitted + links.refused),
    }
}

fn size(tier: Tier) -> Capacity {
    Capacity::new(tier, 1).unwrap()
}

/// `HUBWARD_PACE_TIMES=20` makes the backlogs so many times as long (`make soak`).
fn times() -> usize {
    std::env::var("HUBWARD_PACE_TIMES").map_or(1, |text| text.parse().unwrap())
}

#[tokio::test(start_paused = true)]
async fn with_tier_and_units_a_backlog_drains_as_fast_as_the_hub_allows_and_it_refuses_nothing() {
    for (tier, devices, transfers) in [(Tier::S1, 150, 20), (Tier::S3, 300, 60)] {
        for latency in [5, 80] {
            let drained = drain(size(tier), true, devices, transfers * times(), Duration::from_millis(latency)).await;
            let fine = drained.share >= 0.95 && drained.refused < 0.001 && drained.links_refused < 0.001;
            // 300 lanes with 80 ms for each transfer cannot reach 6000 a second.
            let bound_by_latency = tier == Tier::S3 && latency == 80;
            assert!(fine || (bound_by_latency && drained.refused < 0.001), "{tier} {latency} ms: {drained:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn without_them_the_pace_is_learned_from_few_refusals() {
    for (tier, devices, transfers) in [(Tier::S1, 400, 12), (Tier::S3, 300, 60)] {
        for latency in [5, 80] {
            let drained = drain(size(tier), false, devices, transfers * times(), Duration::from_millis(latency)).await;
            let bound_by_latency = tier == Tier::S3 && latency == 80;
            assert!(drained.refused < 0.01, "{tier} {latency} ms: {drained:?}");
            assert!(drained.share >= 0.8 || bound_by_latency, "{tier} {latency} ms: {drained:?}");
        }
    }
}
