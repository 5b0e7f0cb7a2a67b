//! One of a thousand devices is broken, in each of the ways there are: nobody else waits on it.

use std::time::Duration;

use hubward_model::DeviceId;
use tokio::time::sleep;

use super::world::World;
use crate::hub::fake::Mode;
use crate::options::Options;

const DEVICES: usize = 1000;
const ROUNDS: usize = 12;
/// A signal of a healthy lane arrives within this, in virtual time: a transfer takes 10 ms.
const SOON: Duration = Duration::from_millis(100);

enum Way {
    Mode(Mode),
    /// The first signal of each round is refused for good.
    Poison,
    /// The third round begins with a signal that ends the connection.
    Cuts,
}

/// Plays rounds in which every device publishes; answers in how many rounds, and how many signals of others, came late.
async fn play(way: Way) -> (usize, usize) {
    let options = Options { dead_letters_per_device: 5, ..Options::default() };
    let mut world = World::pooled(options);
    world.hub.count_only();
    let devices: Vec<DeviceId> = (0..DEVICES).map(|n| world.device(&format!("d{n}"))).collect();
    world.start().await;
    sleep(Duration::from_secs(1)).await;
    if let Way::Mode(mode) = &way {
        world.hub.set("d0", mode.clone());
    }
    let others =
        |world: &World| world.hub.counted().iter().filter(|(id, _)| *id != "d0").map(|(_, n)| n).sum::<usize>();
    let (mut late_rounds, mut late_signals) = (0, 0);
    for round in 0..ROUNDS {
        match way {
            Way::Poison => drop(world.publish(&devices[0], "poison")),
            Way::Cuts if round == 2 => drop(world.publish(&devices[0], "cut")),
            _ => {}
        }
        for (at, device) in devices.iter().enumerate() {
            world.publish(device, "x");
            // Devices do not speak all at once.
            if at % 100 == 99 {
                sleep(Duration::from_millis(50)).await;
            }
        }
        sleep(SOON).await;
        let missing = (round + 1) * (DEVICES - 1) - others(&world);
        late_rounds += usize::from(missing > 0);
        late_signals += missing;
        sleep(Duration::from_secs(5)).await;
        assert_eq!(others(&world), (round + 1) * (DEVICES - 1), "others wait for seconds in round {round}");
    }
    assert_eq!(world.hub.wrongs(), Vec::<String>::new());
    world.stop().await;
    (late_rounds, late_signals)
}

#[tokio::test(start_paused = true)]
async fn while_one_of_a_thousand_is_refused_or_silent_no_other_waits_on_it() {
    for mode in [
        Mode::Refused("amqp:not-found"),
        Mode::Refused("com.microsoft:device-disabled"),
        Mode::Refused("amqp:unauthorized-access"),
        Mode::Refused("amqp:link:stolen"),
        Mode::Silent,
    ] {
        assert_eq!(play(Way::Mode(mode.clone())).await, (0, 0), "{mode:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn while_one_of_a_thousand_sends_poison_no_other_waits_on_it() {
    assert_eq!(play(Way::Poison).await, (0, 0));
}

#[tokio::test(start_paused = true)]
async fn while_one_of_a_thousand_ends_connections_others_wait_for_a_new_one_a_few_times_at_most() {
    // Whoever shares a connection that ends must open another; from then on the culprit is kept apart.
    let (rounds, signals) = play(Way::Cuts).await;
    assert!(rounds <= 2, "{signals} signals were late, in {rounds} rounds");
}
