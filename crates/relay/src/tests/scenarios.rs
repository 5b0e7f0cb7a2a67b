use std::time::Duration;

use bytes::Bytes;
use hubward_model::{BindingState, BodyFormat, IntegrationState};
use tokio::time::{Instant, sleep};

use super::world::World;
use crate::hub::fake::Mode;
use crate::options::Options;

fn payload(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}

#[tokio::test(start_paused = true)]
async fn waiting_signals_go_as_one_batch_in_order() {
    let mut world = World::new();
    let device = world.device("d");
    for n in 0..1200 {
        world.publish(&device, payload(&n.to_string()));
    }
    let began = Instant::now();
    world.start().await;
    world.settled().await;
    world.check(false);
    // 1200 transfers of 10 ms each would take 12 s.
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_signal_too_large_becomes_a_dead_letter_with_its_size_and_the_link_lives() {
    let mut world = World::new();
    let device = world.device("d");
    world.start().await;
    world.publish(&device, payload("before"));
    world.publish(&device, vec![7; 262_144]);
    world.publish(&device, vec![8; 200_000]);
    world.publish(&device, payload("after"));
    world.settled().await;
    world.check(false);
    let dead = world.ledger.dead();
    assert_eq!(dead.len(), 1);
    assert!(dead[0].reason.contains("too large: 2622") && dead[0].record.message.payload.len() == 262_144);
    assert_eq!(world.hub.links_opened(), 1);
    assert_eq!(world.shown(&device).dead_letters, 1);
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn in_a_refused_batch_only_the_culprit_becomes_a_dead_letter() {
    let mut world = World::new();
    let device = world.device("d");
    for n in 0..50 {
        world.publish(&device, payload(&if n == 30 { "poison".to_owned() } else { n.to_string() }));
    }
    world.start().await;
    world.settled().await;
    world.check(false);
    let dead = world.ledger.dead();
    assert_eq!(dead.len(), 1);
    assert_eq!(dead[0].record.message.payload, "poison");
    assert!(dead[0].hub_error.as_deref().is_some_and(|words| words.contains("argument-error")));
    assert_eq!(world.shown(&device).delivered, 49);
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn at_the_bound_of_dead_letters_the_lane_holds_and_loses_nothing() {
    let options = Options { dead_letters_per_device: 2, ..Options::default() };
    let mut world = World::with(options, Duration::from_millis(10));
    let device = world.device("d");
    for n in 0..4 {
        world.publish(&device, payload(&format!("poison {n}")));
        world.publish(&device, payload(&n.to_string()));
    }
    world.start().await;
    sleep(Duration::from_secs(60)).await;
    assert_eq!(world.ledger.dead().len(), 2);
    let shown = world.shown(&device);
    assert_eq!((shown.state, shown.dead_letters, shown.backlog), (BindingState::Held, 2, 4));
    assert!(shown.last_error.is_some_and(|error| error.contains("dead letters")));
    // A user discards them: the lane goes on.
    world.handle().face.showing().shared.unwrap().roster()[&device].set_dead_letters(0);
    world.settled().await;
    world.check(false);
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn refused_for_now_the_batch_is_sent_again_whole() {
    let mut world = World::new();
    let device = world.device("d");
    world.hub.set("d", Mode::TransfersRefused("com.microsoft:timeout"));
    world.start().await;
    for n in 0..10 {
        world.publish(&device, payload(&n.to_string()));
    }
    sleep(Duration::from_secs(2)).await;
    assert!(world.hub.stored().is_empty() && world.shown(&device).last_error.is_some());
    world.hub.set("d", Mode::Fine);
    world.settled().await;
    world.check(false);
    assert_eq!(world.shown(&device).last_error, None);
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn without_a_word_the_old_link_is_closed_before_the_signals_are_sent_again() {
    let mut world = World::new();
    let device = world.device("d");
    world.hub.set("d", Mode::Silent);
    world.start().await;
    world.publish(&device, payload("x"));
    sleep(Duration::from_secs(45)).await;
    world.hub.set("d", Mode::Fine);
    world.settled().await;
    // check() also says that no second link was open.
    world.check(false);
    assert!(world.hub.links_opened() >= 2);
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn words_lost_with_the_connection_lead_to_repeats_with_the_same_ids_in_order() {
    let mut world = World::new();
    let device = world.device("d");
    world.hub.set("d", Mode::LosesWords { every: 3 });
    world.start().await;
    for n in 0..200 {
        world.publish(&device, payload(&n.to_string()));
        if n % 20 == 0 {
            sleep(Duration::from_millis(15)).await;
        }
    }
    world.settled().await;
    world.check(true);
    assert!(world.hub.stored().len() > 200, "nothing was repeated: the test tests nothing");
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn one_device_in_trouble_never_delays_the_others() {
    for mode in [
        Mode::Refused("amqp:not-found"),
        Mode::Refused("amqp:unauthorized-access"),
        Mode::TransfersRefused("com.microsoft:timeout"),
        Mode::TransfersRefused("amqp:link:stolen"),
        Mode::Silent,
        Mode::LosesLinks { every: 1 },
    ] {
        let options = Options { budget_bytes: 4 << 20, lane_bytes: 64 << 10, ..Options::default() };
        let mut world = World::with(options, Duration::from_millis(10));
        let devices: Vec<_> = (0..20).map(|n| world.device(&format!("d{n}"))).collect();
        world.hub.set("d0", mode.clone());
        world.start().await;
        // Ten times the memory of the hub for the one in trouble, a little for the others.
        for round in 0..200 {
            world.publish(&devices[0], vec![0; 200_000]);
            for device in &devices[1..] {
                world.publish(device, payload(&round.to_string()));
            }
            let expected = (round + 1) * 19;
            let others = |stored: &[(String, _)]| stored.iter().filter(|(id, _)| id != "d0").count() >= expected;
            let began = Instant::now();
            world.hub.until(others).await;
            assert!(began.elapsed() <= Duration::from_millis(100), "{mode:?}: {:?} in round {round}", began.elapsed());
            sleep(Duration::from_millis(100)).await;
        }
        assert!(world.session.hub.budget.used() < 4 << 20);
        world.hub.set("d0", Mode::Fine);
        world.poke_all();
        world.settled().await;
        world.check(true);
        world.stop().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_held_lane_shows_its_finding_and_catches_up_when_it_is_over() {
    for (condition, state) in [
        ("amqp:not-found", BindingState::Missing),
        ("com.microsoft:device-disabled", BindingState::Disabled),
        ("amqp:unauthorized-access", BindingState::Held),
    ] {
        let mut world = World::new();
        let (device, other) = (world.device("d"), world.device("e"));
        world.hub.set("d", Mode::Refused(condition));
        world.start().await;
        for n in 0..500 {
            world.publish(&device, payload(&n.to_string()));
            world.publish(&other, payload(&n.to_string()));
        }
        sleep(Duration::from_secs(3600)).await;
        let shown = world.shown(&device);
        assert_eq!((shown.state, shown.backlog, shown.delivered), (state, 500, 0));
        assert_eq!(world.shown(&other).delivered, 500);
        world.hub.set("d", Mode::Fine);
        world.settled().await;
        world.check(false);
        let shown = world.shown(&device);
        assert_eq!((shown.state, shown.backlog, shown.delivered), (BindingState::Delivering, 0, 500));
        world.stop().await;
    }
}

#[tokio::test(start_paused = true)]
async fn while_the_hub_is_away_memory_is_bounded_and_the_backlog_counted() {
    let options = Options { budget_bytes: 1 << 20, lane_bytes: 256 << 10, ..Options::default() };
    let mut world = World::with(options, Duration::from_millis(10));
    let devices: Vec<_> = (0..10).map(|n| world.device(&format!("d{n}"))).collect();
    world.start().await;
    world.hub.set_away(true);
    world.session.presence.failed("no route");
    for _ in 0..2000 {
        for device in &devices {
            world.publish(device, vec![1; 1000]);
        }
    }
    sleep(Duration::from_secs(60)).await;
    assert!(world.session.hub.budget.used() <= (1 << 20) + 4096, "{}", world.session.hub.budget.used());
    assert_eq!(devices.iter().map(|device| world.shown(device).backlog).sum::<u64>(), 20_000);
    world.hub.set_away(false);
    world.session.presence.opened();
    world.settled().await;
    world.check(false);
    assert_eq!(devices.iter().map(|device| world.shown(device).backlog).sum::<u64>(), 0);
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_busy_device_beyond_its_share_is_served_apart_and_loses_nothing() {
    let options = Options { budget_bytes: 1 << 20, lane_bytes: 64 << 10, ..Options::default() };
    let mut world = World::with(options, Duration::from_millis(200));
    let (busy, calm) = (world.device("busy"), world.device("calm"));
    world.start().await;
    for n in 0..20_000 {
        world.publish(&busy, payload(&n.to_string()));
        if n % 100 == 0 {
            world.publish(&calm, payload(&n.to_string()));
            sleep(Duration::from_millis(10)).await;
        }
    }
    world.settled().await;
    world.check(false);
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn after_an_orderly_stop_nothing_is_sent_twice_and_counters_go_on() {
    let mut world = World::new();
    let (device, idle) = (world.device("d"), world.device("idle"));
    world.hub.set("d", Mode::Fine);
    for round in 0..5 {
        world.start().await;
        for n in 0..100 {
            world.publish(&device, payload(&format!("{round} {n}")));
        }
        if round == 2 {
            world.publish(&idle, payload("once"));
        }
        sleep(Duration::from_millis(25)).await;
        world.stop().await;
    }
    world.start().await;
    world.settled().await;
    world.check(false);
    assert_eq!((world.shown(&device).delivered, world.shown(&idle).delivered), (500, 1));
    assert_eq!(world.ledger.progress().lanes.len(), 2);
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn killed_it_sends_again_at_most_what_was_settled_since_the_last_save() {
    let mut world = World::new();
    let device = world.device("d");
    world.start().await;
    for n in 0..1000 {
        world.publish(&device, payload(&n.to_string()));
        sleep(Duration::from_millis(5)).await;
    }
    let saved = world.ledger.progress();
    world.kill().await;
    world.start().await;
    world.settled().await;
    world.check(true);
    // 300 ms between saves are 60 signals, and a few are in flight.
    let repeats = world.hub.stored().len() - 1000;
    assert!(repeats <= 70, "{repeats} repeats; saved {saved:?}");
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn paused_it_sends_nothing_counts_the_backlog_and_goes_on_when_resumed() {
    let mut world = World::new();
    let device = world.device("d");
    world.start().await;
    world.publish(&device, payload("before"));
    world.settled().await;
    world.ledger.edit(|integration| integration.state = IntegrationState::Paused);
    world.refresh().await;
    assert_eq!(world.hub.open_links(), 0);
    for n in 0..100 {
        world.publish(&device, payload(&n.to_string()));
    }
    sleep(Duration::from_secs(10)).await;
    assert_eq!((world.shown(&device).backlog, world.hub.stored().len()), (100, 1));
    world.ledger.edit(|integration| integration.state = IntegrationState::Active);
    world.refresh().await;
    world.settled().await;
    world.check(false);
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn edited_settings_reach_the_backlog() {
    let mut world = World::new();
    let device = world.device("d");
    world.hub.set("d", Mode::TransfersRefused("com.microsoft:timeout"));
    world.start().await;
    world.publish(&device, payload("plain text"));
    sleep(Duration::from_secs(1)).await;
    world.ledger.edit(|integration| {
        integration.settings.topic = "Edited".parse().unwrap();
        integration.settings.body = BodyFormat::Json;
    });
    world.refresh().await;
    // A transfer that is under way is as before the edit: the hub refuses it.
    sleep(Duration::from_secs(1)).await;
    world.hub.set("d", Mode::Fine);
    world.settled().await;
    let stored = world.hub.stored_of("d");
    assert_eq!(stored.len(), 1);
    assert_eq!(stored[0].properties, [("topic".to_owned(), "Edited".to_owned())]);
    assert_eq!(stored[0].content_type.as_deref(), Some("application/json"));
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn devices_join_and_leave_while_signals_stream() {
    let mut world = World::new();
    let (stays, leaves) = (world.device("stays"), world.device("leaves"));
    world.start().await;
    for n in 0..50 {
        world.publish(&stays, payload(&n.to_string()));
        world.publish(&leaves, payload(&n.to_string()));
    }
    world.settled().await;
    // Bound before its identity is made: what it sends meanwhile belongs to it.
    let comes = world.device("comes");
    for n in 0..50 {
        world.publish(&comes, payload(&n.to_string()));
        world.publish(&stays, payload(&n.to_string()));
        sleep(Duration::from_millis(20)).await;
    }
    world.ledger.unbind(&leaves);
    world.refresh().await;
    assert_eq!(world.hub.open_links(), 2);
    world.settled().await;
    world.check(false);
    assert_eq!(world.shown(&comes).backlog, 0);
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn when_the_hub_throttles_all_lanes_slow_down_and_nothing_is_lost() {
    let mut world = World::new();
    let devices: Vec<_> = (0..50).map(|n| world.device(&format!("d{n}"))).collect();
    world.start().await;
    world.hub.throttle(60);
    for _ in 0..5 {
        for device in &devices {
            world.publish(device, payload("x"));
        }
        sleep(Duration::from_millis(5)).await;
    }
    world.settled().await;
    world.check(false);
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn an_idle_integration_saves_nothing() {
    let mut world = World::new();
    world.device("d");
    world.start().await;
    sleep(Duration::from_secs(10)).await;
    let before = world.ledger.saves();
    sleep(Duration::from_secs(3600)).await;
    assert_eq!(world.ledger.saves(), before);
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_refused_lane_shows_what_the_registry_said_until_it_is_well_again() {
    let mut world = World::new();
    let device = world.device("d");
    world.start().await;
    // By AMQP a disabled identity is refused like one with other keys.
    world.hub.set("d", Mode::Refused("amqp:unauthorized-access"));
    world.publish(&device, "x");
    sleep(Duration::from_secs(1)).await;
    assert_eq!(world.shown(&device).state, BindingState::Held);
    let lane = |world: &World| world.handle().face.showing().shared.unwrap().roster()[&device].clone();
    lane(&world).found(BindingState::Disabled, "the identity d is disabled");
    // It tries again and is refused again: that says less than what is known.
    sleep(Duration::from_secs(600)).await;
    let shown = world.shown(&device);
    assert_eq!(
        (shown.state, shown.last_error.as_deref()),
        (BindingState::Disabled, Some("the identity d is disabled"))
    );
    // It is told to try again, and refused for another reason.
    lane(&world).look_again();
    sleep(Duration::from_secs(1)).await;
    assert_eq!(world.shown(&device).state, BindingState::Held);
    lane(&world).found(BindingState::Missing, "the identity d was deleted");
    assert_eq!(world.shown(&device).state, BindingState::Missing);
    world.hub.set("d", Mode::Fine);
    world.settled().await;
    let shown = world.shown(&device);
    assert_eq!((shown.state, shown.last_error), (BindingState::Delivering, None));
    // A word that comes too late is old.
    lane(&world).found(BindingState::Disabled, "the identity d is disabled");
    assert_eq!(world.shown(&device).state, BindingState::Delivering);
    world.check(true);
    world.stop().await;
}
