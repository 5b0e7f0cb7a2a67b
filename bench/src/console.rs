//! Scenario `console`: how long the reads behind the console's pages take, with a large fleet and a long history.
//!
//! Devices and signals are written into a data folder as a server would have left them; then the server starts on it and
//! every page's reads are asked in turn, over and over, for different devices.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use hubward_bench::system::{self, Hub};
use hubward_journal::{Journal, RealFiles};
use hubward_model::{DeviceId, DeviceKind, Draft, Kind, Message, Qos, Timestamp};
use hubward_registry::{KeySource, NewDevice, Registry};

use crate::Args;

/// Signals in the journal.
const SIGNALS: usize = 1_000_000;
/// They came over so many hours.
const HOURS: i64 = 24;
/// What the 95th percentile of every page must stay under.
const MOST: Duration = Duration::from_millis(100);

pub(crate) async fn run(args: &Args, folder: &Path) -> Result<()> {
    let devices = args.devices.unwrap_or(10_000);
    let ids = fill(folder, devices).await?;
    let hub = Hub::start(folder)?;
    let server = system::hubward(folder, &hub).await?;
    let api = server.api.as_ref().context("it is ours")?;
    // Until the server has read the journal once, the list of signals is not complete.
    let last = ids.last().context("there are devices")?;
    while api.get(&format!("/api/v1/devices/{last}")).await?["signals"].as_u64() != Some((SIGNALS / devices) as u64) {}
    let now = Timestamp::now().as_millis();
    let time = |hours_ago: i64| Timestamp::from_millis(now - hours_ago * 3_600_000);
    let (noon, dawn) = (time(HOURS / 2), time(HOURS * 3 / 4));
    let pages = |id: &DeviceId| {
        [
            ("overview", "/api/v1/overview".to_owned()),
            ("devices", "/api/v1/devices?limit=100".to_owned()),
            ("devices, by signals", "/api/v1/devices?limit=100&sort=signals_last_hour".to_owned()),
            ("devices, searched", "/api/v1/devices?limit=100&q=77".to_owned()),
            ("device", format!("/api/v1/devices/{id}")),
            ("device, latest signals", format!("/api/v1/devices/{id}/signals?limit=50")),
            ("device, signals of a time", format!("/api/v1/devices/{id}/signals?limit=50&until={noon}")),
            ("device, list of signals", format!("/api/v1/devices/{id}/series")),
            ("device, chart of a day", format!("/api/v1/devices/{id}/series/t/points?from={}", time(HOURS))),
            ("device, connections", format!("/api/v1/devices/{id}/connections")),
            ("live, last signals", "/api/v1/signals?limit=50".to_owned()),
            ("deliveries of a time", format!("/api/v1/signals?limit=50&since={dawn}&until={noon}")),
            ("integrations", "/api/v1/integrations".to_owned()),
            ("dead letters", "/api/v1/deadletters/groups".to_owned()),
            ("hubs", "/api/v1/hubs".to_owned()),
        ]
    };
    let names: Vec<&str> = pages(last).iter().map(|(name, _)| *name).collect();
    let mut times: Vec<Vec<Duration>> = vec![Vec::new(); names.len()];
    for round in 0..args.rounds.max(2) * 10 {
        let id = &ids[(round * 7919) % ids.len()];
        for (at, (_, path)) in pages(id).iter().enumerate() {
            let begun = Instant::now();
            api.get(path).await?;
            times[at].push(begun.elapsed());
        }
    }
    println!("{devices} devices, {SIGNALS} signals in the journal, {} rounds", times[0].len());
    let mut slowest = Duration::ZERO;
    for (name, times) in names.iter().zip(&mut times) {
        times.sort_unstable();
        let part = |percent: usize| times[(times.len() - 1) * percent / 100];
        println!("{name:28} p50 {:6.1} ms   p95 {:6.1} ms", millis(part(50)), millis(part(95)));
        slowest = slowest.max(part(95));
    }
    ensure!(
        slowest < MOST,
        "a page took {:.1} ms at the 95th percentile, at most {:.0} is promised",
        millis(slowest),
        millis(MOST)
    );
    Ok(())
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

/// Writes devices and signals where the server will look for them.
async fn fill(folder: &Path, devices: usize) -> Result<Vec<DeviceId>> {
    let data = folder.join("up");
    std::fs::create_dir_all(&data)?;
    let keys = KeySource { text: None, file: folder.join("up.key") };
    let registry = Registry::open(&data.join("registry.db"), keys).await.context("open the registry")?;
    let mut new = Vec::with_capacity(devices);
    for number in 0..devices {
        let name = format!("board-{number:05}").parse().ok().context("a name")?;
        new.push(NewDevice::new(name, DeviceKind::Mqtt));
    }
    let added = registry.add_devices(new).await.context("add devices")?;
    let ids: Vec<DeviceId> = added.into_iter().map(|made| made.value.id).collect();
    registry.close().await;
    drop(registry);
    let (journal, committer) = Journal::open(hubward_journal::Options::new(data.join("journal")), Arc::new(RealFiles))
        .context("open the journal")?;
    let committer = std::thread::spawn(move || committer.run());
    let begin = Timestamp::now().as_millis() - HOURS * 3_600_000;
    for number in 0..SIGNALS {
        let id = &ids[number % ids.len()];
        let into = i64::try_from(number)? * HOURS * 3_600_000 / i64::try_from(SIGNALS)?;
        let draft = Draft {
            kind: Kind::Signal,
            received_at: Timestamp::from_millis(begin + into),
            device: Some(id.clone()),
            only_for: None,
            message: Message {
                topic: format!("devices/{id}/signals/t"),
                payload: format!("{}.{}", 20 + number % 7, number % 10).into(),
                qos: Qos::AtLeastOnce,
                ..Message::default()
            },
            note: bytes::Bytes::new(),
        };
        if number % 1000 == 999 {
            // Waits for the commit now and then, so that the queue never is full.
            journal.append_durable(draft).await.context("append")?;
        } else {
            journal.append(draft, &hubward_journal::Waiter::new()).context("append")?;
        }
    }
    journal.close();
    committer.join().ok().context("the journal's writer")?;
    Ok(ids)
}
