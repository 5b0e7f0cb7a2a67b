//! Random records, refusals, losses, restarts and kills: every signal is delivered or a dead letter, in order.

use std::time::Duration;

use hubward_model::{IntegrationState, Offset, OnFull};
use proptest::prelude::*;
use tokio::time::sleep;

use super::world::World;
use crate::hub::fake::Mode;
use crate::options::Options;

const DEVICES: usize = 6;

#[derive(Debug, Clone)]
enum Step {
    Publish {
        device: usize,
        count: usize,
        size: usize,
    },
    Poison {
        device: usize,
    },
    TooLarge {
        device: usize,
    },
    Fares {
        device: usize,
        mode: Mode,
    },
    HubAway,
    HubBack,
    Throttle {
        transfers: u32,
    },
    Wait {
        ms: u64,
    },
    Restart,
    Kill,
    Refresh,
    /// Everything but so many records is to go.
    LetGo {
        but: u64,
    },
    Pause,
    Resume,
    /// It is taken out of the integration.
    Unbind {
        device: usize,
    },
    /// It is taken in again, if it is out.
    Bind {
        device: usize,
    },
    /// Its identity is in conflict: its binding has no lane.
    Conflict {
        device: usize,
    },
    /// The conflict is over.
    Agrees {
        device: usize,
    },
    /// What may wait is another from now on.
    Limit {
        limit: Option<u64>,
    },
    /// All identities have other keys.
    Rekey,
}

/// What may wait: without limits, or so little that much expires.
fn limits() -> impl Strategy<Value = Option<u64>> {
    prop_oneof![2 => Just(None), 1 => (20_000..200_000u64).prop_map(Some)]
}

fn step() -> impl Strategy<Value = Step> {
    let device = 0..DEVICES;
    let mode = prop_oneof![
        3 => Just(Mode::Fine),
        1 => Just(Mode::Refused("amqp:not-found")),
        1 => Just(Mode::Refused("amqp:link:stolen")),
        1 => Just(Mode::TransfersRefused("com.microsoft:timeout")),
        1 => Just(Mode::TransfersRefused("amqp:unauthorized-access")),
        1 => Just(Mode::Silent),
        1 => (1..4u32).prop_map(|every| Mode::LosesWords { every: every + 1 }),
        1 => (1..4u32).prop_map(|every| Mode::LosesLinks { every: every + 1 }),
    ];
    prop_oneof![
        8 => (device.clone(), 1..80usize, prop_oneof![1..50usize, 1000..9000usize])
            .prop_map(|(device, count, size)| Step::Publish { device, count, size }),
        1 => device.clone().prop_map(|device| Step::Poison { device }),
        1 => device.clone().prop_map(|device| Step::TooLarge { device }),
        3 => (device, mode).prop_map(|(device, mode)| Step::Fares { device, mode }),
        1 => Just(Step::HubAway),
        2 => Just(Step::HubBack),
        1 => (1..20u32).prop_map(|transfers| Step::Throttle { transfers }),
        5 => (1..3000u64).prop_map(|ms| Step::Wait { ms }),
        1 => Just(Step::Restart),
        1 => Just(Step::Kill),
        1 => Just(Step::Refresh),
        4 => (0..60u64).prop_map(|but| Step::LetGo { but }),
        1 => Just(Step::Pause),
        2 => Just(Step::Resume),
    ]
}

/// Bindings come, go and lose their lanes, and settings change.
fn edit() -> impl Strategy<Value = Step> {
    let device = 0..DEVICES;
    prop_oneof![
        1 => device.clone().prop_map(|device| Step::Unbind { device }),
        2 => device.clone().prop_map(|device| Step::Bind { device }),
        1 => device.clone().prop_map(|device| Step::Conflict { device }),
        2 => device.prop_map(|device| Step::Agrees { device }),
        1 => limits().prop_map(|limit| Step::Limit { limit }),
        1 => Just(Step::Rekey),
    ]
}

fn run(steps: Vec<Step>, limit: Option<u64>, chunk: usize) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(play(steps, limit, chunk));
}

fn set_limit(world: &World, limit: Option<u64>) {
    let limit = limit.unwrap_or(1 << 40);
    world.ledger.edit(|integration| {
        integration.settings.on_full = OnFull::ExpireOldest;
        integration.settings.device_backlog_limit = limit;
        integration.settings.backlog_limit = 3 * limit;
        integration.settings.device_backlog_age = Duration::from_secs(u64::MAX / 1000);
    });
}

async fn play(steps: Vec<Step>, limit: Option<u64>, chunk: usize) {
    // Small enough that lanes are detached and readers wait.
    let options = Options { budget_bytes: 96 << 10, lane_bytes: 16 << 10, ..Options::default() };
    let mut world = World::in_chunks(options, Duration::from_millis(10), chunk);
    let devices: Vec<_> = (0..DEVICES).map(|n| world.device(&format!("d{n}"))).collect();
    let repeats = steps
        .iter()
        .any(|step| matches!(step, Step::Kill | Step::HubAway | Step::Fares { mode: Mode::LosesWords { .. }, .. }));
    if let Some(limit) = limit {
        set_limit(&world, Some(limit));
    }
    world.start().await;
    let mut serial = 0;
    for step in steps {
        match step {
            Step::Publish { device, count, size } => {
                for _ in 0..count {
                    serial += 1;
                    let mut payload = serial.to_string().into_bytes();
                    payload.resize(payload.len().max(size), b'.');
                    world.publish(&devices[device], payload);
                }
            }
            Step::Poison { device } => drop(world.publish(&devices[device], "poison")),
            Step::TooLarge { device } => drop(world.publish(&devices[device], vec![0; 300_000])),
            Step::Fares { device, mode } => world.hub.set(devices[device].as_str(), mode),
            Step::HubAway => {
                world.hub.set_away(true);
                world.session.presence.failed("away");
            }
            Step::HubBack => back(&world),
            Step::Throttle { transfers } => world.hub.throttle(transfers),
            Step::Wait { ms } => sleep(Duration::from_millis(ms)).await,
            Step::Restart => {
                world.stop().await;
                world.start().await;
            }
            Step::Kill => {
                world.kill().await;
                world.start().await;
            }
            Step::Refresh => world.refresh().await,
            Step::LetGo { but } => {
                let durable = world.records.durable().to_raw();
                world.records.let_go(Offset::from_raw(durable.saturating_sub(but)));
            }
            Step::Pause => set(&world, IntegrationState::Paused).await,
            Step::Resume => set(&world, IntegrationState::Active).await,
            Step::Unbind { device } => world.unbind(&devices[device]).await,
            Step::Bind { device } => {
                if !world.ledger.is_bound(&devices[device]) {
                    world.bind_again(&devices[device]).await;
                }
            }
            Step::Conflict { device } => {
                world.ledger.set_absent(&devices[device], true);
                world.refresh().await;
            }
            Step::Agrees { device } => {
                world.ledger.set_absent(&devices[device], false);
                world.refresh().await;
            }
            Step::Limit { limit } => {
                set_limit(&world, limit);
                world.refresh().await;
            }
            Step::Rekey => {
                world.ledger.rekey();
                world.refresh().await;
            }
        }
    }
    back(&world);
    devices.iter().for_each(|device| world.ledger.set_absent(device, false));
    set(&world, IntegrationState::Active).await;
    world.records.let_go(world.records.durable());
    for device in &devices {
        world.hub.set(device.as_str(), Mode::Fine);
    }
    world.settled().await;
    world.check(repeats);
    for device in devices.iter().filter(|device| world.ledger.is_bound(device)) {
        assert_eq!(world.shown(device).backlog, 0, "{device}");
    }
    sleep(Duration::from_secs(10)).await;
    assert!(world.records.kept() <= 1, "{} records are pinned", world.records.kept());
    world.stop().await;
}

async fn set(world: &World, state: IntegrationState) {
    world.ledger.edit(|integration| integration.state = state);
    world.refresh().await;
}

fn back(world: &World) {
    world.hub.set_away(false);
    world.session.presence.opened();
}

/// What the model below found once.
#[test]
fn a_binding_that_gets_its_lane_back_before_a_copy_for_it_is_saved_loses_nothing() {
    for ms in 1..20 {
        let before_the_copy = [
            Step::Unbind { device: 0 },
            Step::Publish { device: 4, count: 28, size: 1 },
            Step::Pause,
            Step::Conflict { device: 4 },
            Step::LetGo { but: 9 },
        ];
        let meanwhile = [Step::Wait { ms }, Step::Restart, Step::Agrees { device: 4 }];
        run(before_the_copy.into_iter().chain(meanwhile).collect(), None, 10);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn every_signal_is_delivered_or_a_dead_letter_in_order_and_nothing_is_skipped(
        steps in proptest::collection::vec(step(), 1..60), limit in limits(),
    ) {
        run(steps, limit, 16);
    }

    #[test]
    fn the_same_holds_while_bindings_and_settings_change(
        steps in proptest::collection::vec(prop_oneof![4 => step().boxed(), 1 => edit().boxed()], 1..60),
        limit in limits(), chunk in 1..17usize,
    ) {
        run(steps, limit, chunk);
    }
}
