//! What may wait, and who pays.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use hubward_journal::testing::Running;
use hubward_journal::{Journal, RealFiles, Waiter};
use hubward_model::{DeviceId, Draft, IntegrationState, Kind, Message, OnFull, Timestamp};
use hubward_registry::{AlarmKey, AlarmKind};
use tokio::sync::{broadcast, mpsc};
use tokio::task::JoinHandle;
use tokio::time::sleep;

use super::ledger::MemoryLedger;
use super::world::World;
use crate::dealer::{Dealer, DealerHandle, Tools};
use crate::hub::fake::{FakeHub, Mode};
use crate::hub::{Governor, Hub, Presence, Session, Sessions, Uplink};
use crate::ledger::Ledger;
use crate::options::Options;
use crate::over::Over;
use crate::records::Records;
use crate::trace::Traces;

fn over(world: &World) -> Vec<String> {
    let mut over: Vec<_> = world.over.subscribe().borrow().iter().map(ToString::to_string).collect();
    over.sort();
    over
}

/// The oldest of a device expire when more than `limit` bytes of it wait.
fn expires_above(world: &World, limit: u64) {
    world.ledger.edit(|integration| {
        integration.settings.on_full = OnFull::ExpireOldest;
        integration.settings.device_backlog_limit = limit;
    });
}

#[tokio::test(start_paused = true)]
async fn an_alarm_of_an_earlier_run_is_over_when_no_more_waits_than_may() {
    let mut world = World::new();
    let device = world.device("d");
    let key = AlarmKey::integration(AlarmKind::BacklogFull, &world.ledger.id());
    world.ledger.alarm(key.clone(), true);
    world.start().await;
    world.publish(&device, "x");
    world.settled().await;
    sleep(Duration::from_secs(2)).await;
    assert!(!world.ledger.is_alarm_open(&key));
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn signals_that_can_no_longer_be_read_are_never_passed_by_in_silence() {
    let mut world = World::new();
    let device = world.device("d");
    world.publish(&device, "lost");
    let there = world.publish(&device, "there");
    world.records.lose(there);
    world.start().await;
    sleep(Duration::from_secs(2)).await;
    let key = AlarmKey::integration(AlarmKind::SignalsDamaged, &world.ledger.id());
    assert!(world.ledger.is_alarm_open(&key));
    assert_eq!(world.hub.stored_of("d").len(), 1, "the rest is delivered");
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn signals_that_can_no_longer_be_read_are_told_when_only_a_binding_without_a_lane_waits_for_them() {
    let mut world = World::new();
    let device = world.device("d");
    world.ledger.set_absent(&device, true);
    world.publish(&device, "lost");
    let there = world.publish(&device, "there");
    world.records.lose(there);
    world.start().await;
    sleep(Duration::from_secs(2)).await;
    let key = AlarmKey::integration(AlarmKind::SignalsDamaged, &world.ledger.id());
    assert!(world.ledger.is_alarm_open(&key));
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_device_at_its_limit_waits_alone_until_less_of_it_does() {
    let mut world = World::new();
    let (held, other) = (world.device("held"), world.device("other"));
    world.ledger.edit(|integration| integration.settings.device_backlog_limit = 100_000);
    world.hub.set("held", Mode::Refused("com.microsoft:device-disabled"));
    world.start().await;
    for _ in 0..90 {
        world.publish(&held, vec![0; 1000]);
        world.publish(&other, vec![0; 1000]);
    }
    sleep(Duration::from_secs(2)).await;
    assert!(over(&world).is_empty());
    for _ in 0..10 {
        world.publish(&held, vec![0; 1000]);
    }
    sleep(Duration::from_secs(2)).await;
    assert_eq!(over(&world), ["held"]);
    let alarms = world.ledger.alarms();
    assert!(matches!(&alarms[..], [(key, true)] if key.kind == AlarmKind::BacklogFull), "{alarms:?}");
    world.hub.set("held", Mode::Fine);
    world.poke_all();
    world.settled().await;
    sleep(Duration::from_secs(2)).await;
    assert!(over(&world).is_empty());
    assert!(!world.ledger.alarms()[1].1, "it is over");
    world.check(false);
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn at_the_limit_of_an_integration_its_devices_wait_and_after_a_stop_nobody() {
    let mut world = World::new();
    let devices: Vec<_> = (0..4).map(|n| world.device(&format!("d{n}"))).collect();
    world.ledger.edit(|integration| {
        integration.settings.backlog_limit = 200_000;
        integration.state = IntegrationState::Paused;
    });
    world.start().await;
    for _ in 0..100 {
        for device in &devices[..2] {
            world.publish(device, vec![0; 1000]);
        }
    }
    sleep(Duration::from_secs(2)).await;
    assert_eq!(over(&world), ["d0", "d1", "d2", "d3"]);
    world.stop().await;
    assert!(over(&world).is_empty());
}

#[tokio::test(start_paused = true)]
async fn the_oldest_expire_counted_and_listed_and_the_rest_arrives_in_order() {
    let options = Options { budget_bytes: 1 << 20, lane_bytes: 16 << 10, ..Options::default() };
    let mut world = World::with(options, Duration::from_millis(10));
    let (held, other) = (world.device("held"), world.device("other"));
    world.ledger.edit(|integration| {
        integration.settings.on_full = OnFull::ExpireOldest;
        integration.settings.device_backlog_limit = 100_000;
        integration.settings.device_backlog_age = Duration::from_secs(u64::MAX / 1000);
    });
    world.hub.set("held", Mode::Refused("com.microsoft:device-disabled"));
    world.start().await;
    for round in 0..8 {
        for n in 0..50 {
            world.publish(&held, format!("{round} {n} {}", "x".repeat(1000)));
            world.publish(&other, format!("{round} {n}"));
        }
        sleep(Duration::from_secs(2)).await;
        assert!(over(&world).is_empty(), "nobody waits");
        if round % 2 == 0 {
            world.records.let_go(world.records.durable());
        }
        sleep(Duration::from_secs(2)).await;
        if round == 5 {
            world.kill().await;
            world.start().await;
            sleep(Duration::from_secs(2)).await;
        }
    }
    let expired = world.ledger.expired();
    assert!(expired.iter().all(|range| range.device == held && range.reason == "device_backlog_limit"));
    assert!(expired.windows(2).all(|pair| pair[0].to <= pair[1].from), "{expired:?}");
    let count: u64 = expired.iter().map(|range| range.count).sum();
    let shown = world.shown(&held);
    assert_eq!(count + shown.backlog, 400, "{expired:?}");
    assert!(shown.backlog <= 95 && shown.backlog >= 60, "{}", shown.backlog);
    assert!(world.ledger.alarms().iter().any(|(key, raised)| key.kind == AlarmKind::Expired && *raised));
    world.hub.set("held", Mode::Fine);
    world.poke_all();
    world.settled().await;
    world.check(true);
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn killed_at_any_moment_nothing_expires_twice() {
    for ms in 300..330 {
        let mut world = World::new();
        let (device, other) = (world.device("d"), world.device("other"));
        expires_above(&world, 50_000);
        world.hub.set("d", Mode::Refused("com.microsoft:device-disabled"));
        world.start().await;
        for n in 0..90 {
            world.publish(&device, format!("{n} {}", "x".repeat(1000)));
            world.publish(&other, "so that progress is saved");
        }
        sleep(Duration::from_millis(ms)).await;
        world.kill().await;
        world.start().await;
        sleep(Duration::from_secs(2)).await;
        assert!(!world.ledger.expired().is_empty());
        world.hub.set("d", Mode::Fine);
        world.poke_all();
        world.settled().await;
        world.check(true);
        world.stop().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_device_whose_oldest_expired_goes_on_where_it_was_after_a_restart() {
    let mut world = World::new();
    let device = world.device("d");
    expires_above(&world, 50_000);
    world.start().await;
    sleep(Duration::from_secs(1)).await;
    // The hub is too busy for a moment.
    world.hub.throttle(3);
    for n in 0..90 {
        world.publish(&device, format!("poison {n} {}", "x".repeat(1000)));
    }
    sleep(Duration::from_secs(2)).await;
    assert!(!world.ledger.expired().is_empty());
    world.settled().await;
    world.stop().await;
    let progress = world.ledger.progress();
    let entry = progress.lanes[&device].settled;
    assert!(entry.is_none_or(|settled| settled >= progress.low_water), "{progress:?}");
    world.start().await;
    world.publish(&device, "after");
    world.settled().await;
    world.check(false);
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_dead_letter_whose_progress_was_lost_does_not_expire_as_well() {
    let mut world = World::with(Options::default(), Duration::from_millis(10));
    let held = world.device("held");
    expires_above(&world, 100_000);
    world.publish(&held, "poison");
    world.start().await;
    while world.ledger.dead().is_empty() {
        sleep(Duration::from_millis(1)).await;
    }
    world.kill().await;
    world.hub.set("held", Mode::Refused("com.microsoft:device-disabled"));
    for n in 0..200 {
        world.publish(&held, format!("{n} {}", "x".repeat(1000)));
    }
    world.start().await;
    while world.ledger.expired().is_empty() {
        sleep(Duration::from_millis(1)).await;
    }
    let poison = world.ledger.dead()[0].record.offset;
    assert_eq!(world.ledger.expired()[0].from, poison, "it was given up along with the others");
    world.hub.set("held", Mode::Fine);
    world.poke_all();
    world.settled().await;
    world.check(true);
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn what_waited_for_too_long_expires_while_its_device_is_held() {
    let mut world = World::new();
    let (held, other) = (world.device("held"), world.device("other"));
    world.ledger.edit(|integration| {
        integration.settings.on_full = OnFull::ExpireOldest;
        integration.settings.device_backlog_age = Duration::from_secs(24 * 3600);
    });
    let ago = |hours: i64| Timestamp::from_millis(Timestamp::now().as_millis() - hours * 3_600_000);
    for n in 0..10 {
        world.publish_at(&held, format!("old {n}"), ago(50 - n));
        world.publish_at(&other, format!("old {n}"), ago(50 - n));
    }
    for n in 0..5 {
        world.publish_at(&held, format!("young {n}"), ago(5 - n));
    }
    world.hub.set("held", Mode::Refused("com.microsoft:device-disabled"));
    world.start().await;
    sleep(Duration::from_secs(5)).await;
    let expired = world.ledger.expired();
    assert_eq!(expired.iter().map(|range| range.count).sum::<u64>(), 10);
    assert!(expired.iter().all(|range| range.reason == "device_backlog_age" && range.device == held));
    assert_eq!(world.shown(&held).backlog, 5);
    world.hub.set("held", Mode::Fine);
    world.poke_all();
    world.settled().await;
    world.check(false);
    world.stop().await;
}

/// An integration on a hub of its own, over a journal on disk.
struct Side {
    ledger: Arc<MemoryLedger>,
    hub: Arc<FakeHub>,
    session: Arc<Session>,
    handle: DealerHandle,
    task: JoinHandle<()>,
}

impl Side {
    async fn start(
        journal: &Journal,
        over: &Over,
        devices: &[DeviceId],
        prepare: impl FnOnce(&MemoryLedger, &FakeHub),
    ) -> Self {
        let options = Options { save_every: Duration::from_millis(20), ..Options::default() };
        let (hub, ledger) = (FakeHub::new(Duration::from_millis(1)), MemoryLedger::new());
        hub.count_only();
        for device in devices {
            ledger.bind(device, journal.durable());
        }
        prepare(&ledger, &hub);
        let session = Arc::new(Session {
            hub: Arc::new(Hub::new("hub".to_owned(), options.budget_bytes, Governor::new(&options.timing))),
            presence: Arc::new(Presence::new()),
            uplink: Uplink::Fake(Arc::clone(&hub)),
        });
        let tools = Tools {
            sessions: Arc::new(Sessions::fixed(options.clone(), Arc::clone(&session), mpsc::unbounded_channel().0)),
            options: Arc::new(options),
            ledger: Ledger::Memory(Arc::clone(&ledger)),
            records: Records::Journal(journal.clone()),
            events: broadcast::Sender::new(16),
            suspicions: Arc::default(),
            traces: Traces::new(None),
            over: over.clone(),
        };
        let (dealer, handle) = Dealer::new(ledger.id(), tools);
        let task = tokio::spawn(dealer.run());
        handle.refresh().await.unwrap();
        Self { ledger, hub, session, handle, task }
    }

    fn counted(&self, device: &DeviceId) -> u64 {
        self.hub.counted().get(device.as_str()).copied().unwrap_or(0) as u64
    }

    fn expired(&self, device: &DeviceId) -> u64 {
        let of = |range: &&hubward_registry::NewExpired| range.device == *device;
        self.ledger.expired().iter().filter(of).map(|range| range.count).sum()
    }

    async fn stop(self) {
        self.handle.stop().await;
        self.task.await.unwrap();
        assert_eq!(self.hub.wrongs(), Vec::<String>::new());
    }
}

fn on_disk(folder: &Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(folder) else { return 0 };
    let size = |entry: std::fs::DirEntry| match entry.metadata() {
        Ok(meta) if meta.is_dir() => on_disk(&entry.path()),
        Ok(meta) => meta.len(),
        // Retention removed it meanwhile.
        Err(_) => 0,
    };
    entries.flatten().map(size).sum()
}

/// One device disabled for months, one of two hubs away, and the others send ten times what the journal may hold.
async fn months(journal_limit: u64) {
    const SIZE: usize = 4000;
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("journal");
    let options = hubward_journal::Options {
        segment_bytes: journal_limit / 16,
        limit_bytes: journal_limit,
        ..hubward_journal::Options::new(&dir)
    };
    let running = Running::start(options, Arc::new(RealFiles)).unwrap();
    let journal = running.journal.clone();
    let name = |name: &str| name.parse::<DeviceId>().unwrap();
    let (held, far) = (name("held"), name("far"));
    let others: Vec<DeviceId> = (0..10).map(|n| name(&format!("d{n}"))).collect();
    let over = Over::default();
    let limit = journal_limit / 8;
    let limited = |ledger: &MemoryLedger| {
        ledger.edit(|integration| {
            integration.settings.on_full = OnFull::ExpireOldest;
            integration.settings.device_backlog_limit = limit;
        });
    };
    let near: Vec<_> = others.iter().cloned().chain([held.clone()]).collect();
    let near = Side::start(&journal, &over, &near, |ledger, hub| {
        limited(ledger);
        hub.set("held", Mode::Refused("com.microsoft:device-disabled"));
    })
    .await;
    let away = Side::start(&journal, &over, std::slice::from_ref(&far), |ledger, hub| {
        limited(ledger);
        hub.set_away(true);
    })
    .await;
    away.session.presence.failed("no route");

    let draft = |device: &DeviceId| Draft {
        kind: Kind::Signal,
        received_at: Timestamp::now(),
        device: Some(device.clone()),
        only_for: None,
        message: Message {
            topic: format!("devices/{device}/signals/x"),
            payload: vec![7; SIZE].into(),
            ..Message::default()
        },
        note: bytes::Bytes::new(),
    };
    let (waiter, to_go) = (Waiter::new(), journal.watch_to_go());
    let mut sent: HashMap<DeviceId, u64> = HashMap::new();
    let (mut bytes, mut most) = (0, 0);
    while bytes < 10 * journal_limit {
        for device in others.iter().chain([&held, &far]) {
            for _ in 0..4 {
                journal.append(draft(device), &waiter).expect("nobody is refused, whatever waits");
                *sent.entry(device.clone()).or_default() += 1;
                bytes += if *device == held || *device == far { 0 } else { SIZE as u64 };
            }
        }
        // The others are delivered as fast as they come; who waits for what is not ready waits here for ever.
        while others.iter().any(|device| near.counted(device) < sent[device]) {
            sleep(Duration::from_millis(1)).await;
        }
        most = most.max(on_disk(&dir));
        // Nor do devices send faster than the disk takes it twice. If anything held the journal's segments, this were for ever.
        loop {
            let (info, to_go) = (journal.info(), *to_go.borrow());
            if info.pins.iter().all(|(_, needed)| *needed >= to_go) && info.bytes <= journal_limit / 16 * 15 {
                break;
            }
            sleep(Duration::from_millis(1)).await;
        }
    }
    assert_eq!(journal.info().refused_full, 0, "no acknowledgement was withheld");
    assert!(over.subscribe().borrow().is_empty(), "nobody is slowed down");
    // The segments ahead, and what is not yet cut from the hold files.
    let sum = journal_limit + 2 * limit + 8 * (journal_limit / 16) + (1 << 20);
    assert!(most <= sum, "{most} bytes on disk, the limits are {sum}");
    for (side, device) in [(&near, &held), (&away, &far)] {
        let expired = side.ledger.expired();
        assert!(expired.iter().all(|range| range.device == *device), "{expired:?}");
        assert!(expired.windows(2).all(|pair| pair[0].to <= pair[1].from));
        assert!(side.expired(device) > 0);
    }
    // Months later.
    near.hub.set("held", Mode::Fine);
    away.hub.set_away(false);
    away.session.presence.opened();
    for (side, device) in [(&near, &held), (&away, &far)] {
        for lane in side.handle.face.showing().shared.unwrap().roster().values() {
            lane.poke();
        }
        while side.counted(device) + side.expired(device) < sent[device] {
            sleep(Duration::from_millis(5)).await;
        }
        assert_eq!(side.counted(device) + side.expired(device), sent[device], "{device}");
        assert!(side.counted(device) * SIZE as u64 >= limit / 2, "what was within the limit is there");
    }
    near.stop().await;
    away.stop().await;
    drop(running);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn neither_a_disabled_device_nor_a_hub_that_is_away_makes_others_wait_or_fills_the_disk() {
    months(8 << 20).await;
}

/// The same with the sizes of the promise; `make soak`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "writes a gigabyte"]
async fn soak_neither_a_disabled_device_nor_a_hub_that_is_away_fills_a_journal_of_64_mib() {
    months(64 << 20).await;
}
