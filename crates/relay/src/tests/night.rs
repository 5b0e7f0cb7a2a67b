//! The day's messages are used up: what waits goes on after 00:00 UTC, in virtual time.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hubward_iothub::clock::Clock;
use tokio::time::{Instant, sleep, sleep_until};

use super::world::World;
use crate::hub::fake::Mode;
use crate::options::Options;

const MINUTE: Duration = Duration::from_secs(60);
const DAYS: Duration = Duration::from_secs(20_000 * 86_400);
/// In the words of a hub whose day is used up.
const USED_UP: &str = "com.microsoft:quota-exceeded";

/// A world in which it is this long before midnight, and whose hub takes nothing more today.
async fn evening(before_midnight: Duration) -> (World, Instant) {
    let midnight = Instant::now() + before_midnight;
    let clock = Clock::from_fn(move || -> SystemTime {
        let now = Instant::now();
        match midnight.checked_duration_since(now) {
            Some(before) => UNIX_EPOCH + DAYS - before,
            None => UNIX_EPOCH + DAYS + now.duration_since(midnight),
        }
    });
    let mut world = World::with(Options { clock, ..Options::default() }, Duration::from_millis(10));
    for name in ["a", "b", "c"] {
        let device = world.device(name);
        world.hub.set(name, Mode::TransfersRefused(USED_UP));
        for n in 0..5 {
            world.publish(&device, n.to_string());
        }
    }
    world.start().await;
    (world, midnight)
}

fn midnight_at_the_hub(world: &World) {
    for name in ["a", "b", "c"] {
        world.hub.set(name, Mode::Fine);
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_used_up_day_left_waiting_goes_on_seconds_after_midnight() {
    // Sooner than the next look, so that midnight itself must end the pause.
    let (mut world, midnight) = evening(7 * MINUTE).await;
    sleep_until(midnight).await;
    assert!(world.hub.stored().is_empty());
    midnight_at_the_hub(&world);
    world.settled().await;
    assert!(midnight.elapsed() < MINUTE, "{:?} after midnight", midnight.elapsed());
    world.check(false);
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_hub_whose_clock_is_behind_refuses_at_our_midnight_and_is_asked_again_soon() {
    let (mut world, midnight) = evening(7 * MINUTE).await;
    sleep_until(midnight + 2 * MINUTE).await;
    assert!(world.hub.stored().is_empty());
    midnight_at_the_hub(&world);
    world.settled().await;
    assert!(midnight.elapsed() < 17 * MINUTE, "{:?} after midnight", midnight.elapsed());
    world.check(false);
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn units_bought_by_day_are_found_by_looking_now_and_then() {
    let (mut world, midnight) = evening(600 * MINUTE).await;
    sleep(50 * MINUTE).await;
    assert!(world.hub.stored().is_empty());
    midnight_at_the_hub(&world);
    let bought = Instant::now();
    world.settled().await;
    assert!(
        bought.elapsed() < 17 * MINUTE && Instant::now() < midnight,
        "{:?} after they were bought",
        bought.elapsed()
    );
    world.check(false);
    world.stop().await;
}
