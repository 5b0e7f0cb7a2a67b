use std::time::Duration;

use hubward_model::{BindingState, IntegrationState};
use tokio::time::sleep;

use super::world::World;
use crate::hub::fake::Mode;
use crate::options::Options;

/// Everything that is durable is to go, and does.
async fn all_goes(world: &World) {
    world.records.let_go(world.records.durable());
    sleep(Duration::from_secs(3)).await;
    assert!(world.records.kept() <= 1, "{} records are pinned", world.records.kept());
}

#[tokio::test(start_paused = true)]
async fn a_held_lane_pins_nothing_and_goes_on_from_its_hold_file_in_order() {
    let options = Options { budget_bytes: 1 << 20, lane_bytes: 16 << 10, ..Options::default() };
    let mut world = World::with(options, Duration::from_millis(10));
    let (held, other) = (world.device("held"), world.device("other"));
    world.hub.set("held", Mode::Refused("com.microsoft:device-disabled"));
    world.start().await;
    for round in 0..5 {
        for n in 0..300 {
            world.publish(&held, format!("{round} {n}"));
            world.publish(&other, format!("{round} {n}"));
        }
        sleep(Duration::from_secs(2)).await;
        all_goes(&world).await;
        if round == 2 {
            world.kill().await;
            world.start().await;
        }
    }
    assert_eq!(world.records.hold().len(), 1500, "of the held lane alone");
    let shown = world.shown(&held);
    assert_eq!((shown.state, shown.backlog), (BindingState::Disabled, 1500));
    world.hub.set("held", Mode::Fine);
    for n in 0..300 {
        world.publish(&held, format!("last {n}"));
    }
    world.poke_all();
    world.settled().await;
    world.check(true);
    assert_eq!(world.shown(&held).backlog, 0);
    sleep(Duration::from_secs(1)).await;
    assert_eq!(world.records.hold().len(), 0, "nobody needs it any more");
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn while_the_hub_is_away_or_the_integration_paused_nothing_is_pinned_and_nothing_lost() {
    for paused in [false, true] {
        let options = Options { budget_bytes: 256 << 10, lane_bytes: 16 << 10, ..Options::default() };
        let mut world = World::with(options, Duration::from_millis(10));
        let devices: Vec<_> = (0..20).map(|n| world.device(&format!("d{n}"))).collect();
        let idle = world.device("idle");
        world.start().await;
        for device in &devices {
            world.publish(device, "before");
        }
        world.settled().await;
        if paused {
            world.ledger.edit(|integration| integration.state = IntegrationState::Paused);
            world.refresh().await;
        } else {
            world.hub.set_away(true);
            world.session.presence.failed("no route");
        }
        for round in 0..4 {
            for n in 0..100 {
                for device in &devices {
                    world.publish(device, format!("{round} {n} {}", "x".repeat(200)));
                }
            }
            sleep(Duration::from_secs(5)).await;
            all_goes(&world).await;
            if round == 1 {
                world.kill().await;
                if !paused {
                    world.session.presence.failed("no route");
                }
                world.start().await;
            }
        }
        sleep(Duration::from_secs(5)).await;
        assert_eq!(devices.iter().map(|device| world.shown(device).backlog).sum::<u64>(), 8000, "paused: {paused}");
        assert_eq!(world.shown(&idle).backlog, 0);
        if paused {
            world.ledger.edit(|integration| integration.state = IntegrationState::Active);
            world.refresh().await;
        } else {
            world.hub.set_away(false);
            world.session.presence.opened();
        }
        world.publish(&idle, "at last");
        world.settled().await;
        world.check(true);
        sleep(Duration::from_secs(1)).await;
        assert_eq!(world.records.hold().len(), 0);
        world.stop().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_binding_without_lane_pins_nothing_over_restarts() {
    let mut world = World::new();
    let (conflict, other) = (world.device("conflict"), world.device("other"));
    world.ledger.set_absent(&conflict, true);
    world.start().await;
    for round in 0..5 {
        for n in 0..100 {
            world.publish(&conflict, format!("{round} {n}"));
            world.publish(&other, format!("{round} {n}"));
        }
        // What stands in the hold file is older than the last start, from the second round on.
        all_goes(&world).await;
        match round {
            1 => world.refresh().await,
            2 => {
                world.kill().await;
                world.start().await;
            }
            _ => {
                world.stop().await;
                world.start().await;
            }
        }
    }
    assert_eq!(world.records.hold().len(), 500);
    world.ledger.set_absent(&conflict, false);
    world.refresh().await;
    world.settled().await;
    world.check(true);
    sleep(Duration::from_secs(6)).await;
    assert_eq!(world.records.hold().len(), 0);
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_binding_that_loses_its_lane_goes_on_where_that_stood() {
    for (waits, pauses) in [(false, false), (false, true), (true, false), (true, true)] {
        let mut world = World::new();
        let device = world.device("d");
        world.start().await;
        world.publish(&device, "before");
        if waits {
            world.settled().await;
        }
        // Its identity is to be made again, for example: what is read meanwhile is not dealt to it.
        world.ledger.set_absent(&device, true);
        world.refresh().await;
        world.publish(&device, "meanwhile");
        sleep(Duration::from_secs(10)).await;
        for state in [IntegrationState::Paused, IntegrationState::Active].into_iter().filter(|_| pauses) {
            world.ledger.edit(|integration| integration.state = state);
            world.refresh().await;
        }
        all_goes(&world).await;
        world.ledger.set_absent(&device, false);
        world.refresh().await;
        world.publish(&device, "after");
        world.settled().await;
        world.check(false);
        assert_eq!(world.hub.stored_of("d").len(), 3);
        world.stop().await;
    }
}
