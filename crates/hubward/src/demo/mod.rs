//! The main job shown by itself: a server, a local hub, three devices that publish by real MQTT, and every signal read
//! back from the hub with its delay. Needs neither root nor network, and leaves nothing behind.
//!
//! - `stage`: sets everything up through the API, as a user would;
//! - `device`: a device that publishes;
//! - `ledger`: what was sent against what was read back;
//! - `blows`: the same with everything broken on the way (`--break`).

mod blows;
mod device;
mod ledger;
mod stage;

use std::time::Duration;

use metrics_exporter_prometheus::PrometheusHandle;
use serde_json::json;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::cli::{Failure, output};
use crate::hub_link::{HubEvent, Monitor};
use crate::server::{Server, stop_signals};

pub use blows::run as run_and_break;
use device::Sent;
use ledger::{Ledger, Read};
use stage::{Actor, Stage};

/// How long the last signals may take to come back after the devices stopped.
const LAST_SIGNALS: Duration = Duration::from_secs(20);
/// Signals that are sent and not yet told to the ledger.
const QUEUE: usize = 64;

/// Runs the demo for `duration`, or until a signal ends it.
pub async fn run(duration: Option<Duration>, metrics: PrometheusHandle, json: bool) -> Result<(), Failure> {
    let mut signals = stop_signals::watch().map_err(|error| Failure::unexpected("watching for signals", error))?;
    let began = Instant::now();
    let folder = tempfile::Builder::new().prefix("hubward-demo-").tempdir().map_err(|error| {
        Failure::new(
            "data_folder",
            format!("no temporary folder can be made: {error}"),
            "point TMPDIR to a folder that this user may write",
        )
    })?;
    let say = |text: &str| if json { Ok(()) } else { output::line(text) };
    say("Starting a server and a local IoT Hub, with a temporary data folder …")?;
    let server = tokio::select! {
        server = Server::start(stage::settings(folder.path()), metrics) => server?,
        () = signals.first() => return Ok(()),
    };
    let stop = CancellationToken::new();
    let stage = stage::Plan::of(&server, folder.path())?;
    let mut serving = std::pin::pin!(server.run(stop.clone().cancelled_owned()));
    let shown = tokio::select! {
        // The server ends only when a part of it fails: then that is what to tell.
        ended = serving.as_mut() => return ended.map_err(Failure::from),
        shown = show(stage, duration, signals.token(), began, json) => shown,
    };
    stop.cancel();
    let stopped = serving.await.map_err(Failure::from);
    // What the show found matters more than how the server stopped.
    shown.and(stopped)
}

async fn show(
    plan: stage::Plan,
    duration: Option<Duration>,
    ended: CancellationToken,
    began: Instant,
    json: bool,
) -> Result<(), Failure> {
    let (stage, monitor) = tokio::try_join!(plan.set(stage::CAST), plan.monitor())?;
    if !json {
        for line in stage.lines() {
            output::line(&line)?;
        }
    }
    let mut show = Show { ledger: Ledger::default(), json, began, first: true };
    for actor in &stage.actors {
        show.ledger.expect(&actor.hub_device_id, &actor.name);
    }
    let played = show.play(&stage, monitor, duration, ended).await;
    if !json {
        stage.curtain(&show.ledger)?;
    } else {
        output::json(&show.ledger.summary())?;
    }
    played?;
    let lost = show.ledger.lost();
    if lost > 0 {
        return Err(Failure::new(
            "signals_lost",
            format!("{lost} signals were acknowledged and did not arrive in the hub"),
            "this must not happen: please report it with the output above",
        ));
    }
    Ok(())
}

/// What is going on.
struct Show {
    ledger: Ledger,
    json: bool,
    began: Instant,
    first: bool,
}

impl Show {
    async fn play(
        &mut self,
        stage: &Stage,
        mut monitor: Monitor,
        duration: Option<Duration>,
        ended: CancellationToken,
    ) -> Result<(), Failure> {
        let (sender, mut sent) = mpsc::channel(QUEUE);
        let quiet = CancellationToken::new();
        let mut devices = JoinSet::new();
        for (number, actor) in stage.actors.iter().enumerate() {
            devices.spawn(device::run(actor.clone(), stage.mqtt.clone(), number, sender.clone(), quiet.clone()));
        }
        drop(sender);
        let mut end = Instant::now() + duration.unwrap_or(Duration::from_secs(u64::from(u32::MAX)));
        loop {
            tokio::select! {
                // A signal is entered before it is published, so it is known when it is read back.
                biased;
                entry = sent.recv(), if !sent.is_closed() || !sent.is_empty() => if let Some(entry) = entry {
                    self.enter(entry);
                },
                Some(device) = devices.join_next() => ended_device(device)?,
                event = monitor.next() => self.read(&event?)?,
                () = ended.cancelled(), if !quiet.is_cancelled() => {
                    quiet.cancel();
                    end = Instant::now() + LAST_SIGNALS;
                }
                () = tokio::time::sleep_until(end) => {
                    if quiet.is_cancelled() {
                        return Ok(());
                    }
                    quiet.cancel();
                    end = Instant::now() + LAST_SIGNALS;
                }
            }
            if quiet.is_cancelled() && devices.is_empty() && sent.is_empty() && self.ledger.waiting() == 0 {
                return Ok(());
            }
        }
    }

    fn enter(&mut self, entry: Sent) {
        match entry {
            Sent::Publishing { hub_device_id, body, at } => self.ledger.publishing(&hub_device_id, body, at),
            Sent::Acknowledged { hub_device_id } => self.ledger.acknowledged(&hub_device_id),
        }
    }

    fn read(&mut self, event: &HubEvent) -> Result<(), Failure> {
        let message_id = event.message_id().unwrap_or_default();
        match self.ledger.read(&event.device_id, message_id, &event.body, Instant::now()) {
            Read::New { name, delay } => {
                let millis = u64::try_from(delay.as_millis()).unwrap_or(u64::MAX);
                let what = device::value_of(&event.body);
                if self.json {
                    return output::json(&json!({
                        "device": name, "hub_device_id": event.device_id, "message_id": message_id,
                        "value": what, "delay_ms": millis,
                    }));
                }
                output::line(&format!(
                    "  {name:<11} {what:<32} in the hub as {:<28}  after {millis:>4} ms",
                    event.device_id
                ))?;
                if std::mem::take(&mut self.first) {
                    let seconds = self.began.elapsed().as_secs_f32();
                    output::line(&format!("  (the first one arrived {seconds:.1} s after the start)"))?;
                }
                Ok(())
            }
            Read::Repeated { name } => {
                if self.json {
                    Ok(())
                } else {
                    output::line(&format!("  {name:<11} a repeat of {message_id}"))
                }
            }
            Read::Foreign => Ok(()),
        }
    }
}

fn ended_device(ended: Result<Result<(), Failure>, tokio::task::JoinError>) -> Result<(), Failure> {
    ended.map_err(|error| Failure::unexpected("a demo device", error))?
}

impl Stage {
    /// The end: what came of it, and what to do next.
    fn curtain(&self, ledger: &Ledger) -> Result<(), Failure> {
        let summary = ledger.summary();
        output::line("")?;
        output::line(&format!(
            "Summary: sent {}, accepted {}, repeated {}, lost {}",
            summary.sent, summary.accepted, summary.repeated, summary.lost
        ))?;
        if let (Some(median), Some(longest)) = (summary.median_ms, summary.longest_ms) {
            output::line(&format!("Delay from publishing to reading back: median {median} ms, longest {longest} ms"))?;
        }
        output::line("")?;
        output::line("The same with your own device and hub:")?;
        for line in [
            "hubward up                                        (or, without Azure: hubward up --local-hub)",
            "hubward device add kitchen",
            "hubward integration add azure --name azure --connection-string-file hub.txt --topic Temp --device kitchen",
        ] {
            output::line(&format!("  {line}"))?;
        }
        output::line(
            "To make a hub in Azure: hubward azure script --hub NAME --group GROUP --region REGION --tier S1 --units 1",
        )
    }
}

impl Actor {
    /// What it is, in a line.
    fn line(&self) -> String {
        format!("  {:<11} {}", self.name, self.what())
    }
}
