//! The demo under blows: while devices publish, the server is killed, the hub goes away, and identities are deleted,
//! disabled and re-keyed. Every line is what happened or what the server's API says; the end is compared at the hub.
//!
//! - `child`: the server as a process that can be killed; `sender`: devices that go on through everything;
//! - `portal`: somebody who changes identities; `watch`: what Hubward says of it;
//! - `verdict`: what was sent against everything at the hub.

mod child;
mod portal;
mod sender;
mod verdict;
mod watch;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hubward_local_hub::{HubInfo, Options};
use hubward_model::{BindingState, DeviceKind};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout_at};
use tokio_util::sync::CancellationToken;

use super::stage::{Actor, Plan};
use crate::cli::{Failure, output};
use crate::hub_link::{Monitor, Reach, Start};
use crate::server::own_hub::{RunningHub, endpoint, https_host};
use crate::server::stop_signals;
use child::ServerProcess;
use portal::Portal;
use sender::run as run_sender;
use verdict::{AtHub, Sent, Summary};
use watch::{Look, Watch};

/// Who plays: the first meets no blow of its own.
const CAST: &[(&str, DeviceKind)] = &[
    ("kitchen", DeviceKind::Mqtt),
    ("cellar", DeviceKind::Mqtt),
    ("garden", DeviceKind::Mqtt),
    ("workshop", DeviceKind::Mqtt),
];
/// Between two looks at what Hubward says.
const LOOK: Duration = Duration::from_millis(150);
/// So long everything flows between two blows.
const CALM: Duration = Duration::from_secs(3);
/// So long the hub is away, and an identity is disabled, after Hubward noticed it.
const AWAY: Duration = Duration::from_secs(3);
/// How long Hubward may take to notice or to repair something, on a slow machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// Runs the demo under blows.
pub async fn run(json: bool) -> Result<(), Failure> {
    let signals = stop_signals::watch().map_err(|error| Failure::unexpected("watching for signals", error))?;
    let folder = tempfile::Builder::new().prefix("hubward-demo-").tempdir().map_err(|error| {
        Failure::new(
            "data_folder",
            format!("no temporary folder can be made: {error}"),
            "point TMPDIR to a folder that this user may write",
        )
    })?;
    let shown = show(folder.path(), signals.token(), json).await;
    // Here everything it started has ended, so that nothing is written into the folder any more.
    let removed = folder.close().map_err(|error| Failure::unexpected("removing the temporary folder", error));
    shown.and(removed)
}

async fn show(folder: &Path, ended: CancellationToken, json: bool) -> Result<(), Failure> {
    let mut show = Show::begin(folder, json).await?;
    let played = ended.run_until_cancelled(show.play()).await.unwrap_or_else(|| {
        Err(Failure::new("stopped", "the demo was stopped before its end", "let it run for half a minute"))
    });
    show.quiet.cancel();
    // One that has ended already cannot be killed.
    let _ = show.server.kill().await;
    if let Some(hub) = show.hub.take() {
        hub.stop().await;
    }
    played
}

/// What is going on.
struct Show {
    folder: PathBuf,
    json: bool,
    began: Instant,
    hub: Option<RunningHub>,
    info: HubInfo,
    server: ServerProcess,
    portal: Portal,
    watch: Watch,
    actors: Vec<Actor>,
    sent: Arc<Mutex<Sent>>,
    devices: JoinSet<()>,
    quiet: CancellationToken,
}

impl Show {
    async fn begin(folder: &Path, json: bool) -> Result<Self, Failure> {
        let began = Instant::now();
        if !json {
            output::line(
                "Starting a server (a process of its own) and a local IoT Hub, with a temporary data folder …",
            )?;
        }
        let hub = RunningHub::start(hub_options(folder)).await?;
        let info = hub.info().clone();
        let server = ServerProcess::start(folder, https_host(&info)).await?;
        let (data, mqtt) = (ServerProcess::data(folder), server.ports().mqtt.clone());
        let stage = Plan::at(&data, mqtt, info.clone(), Some(endpoint(&info)))?.set(CAST).await?;
        let actors = stage.actors;
        let watch = Watch::begin(folder, "demo").await?;
        let mut show = Self {
            folder: folder.to_owned(),
            json,
            began,
            hub: Some(hub),
            portal: Portal::log_in(&info)?,
            info,
            server,
            watch,
            actors,
            sent: Arc::default(),
            devices: JoinSet::new(),
            quiet: CancellationToken::new(),
        };
        show.tell("", &format!("{} devices publish to {}", CAST.len(), show.server.ports().mqtt))?;
        for actor in &show.actors {
            let (actor, mqtt) = (actor.clone(), show.server.ports().mqtt.clone());
            show.devices.spawn(run_sender(actor, mqtt, show.sent.clone(), show.quiet.clone()));
        }
        Ok(show)
    }

    async fn play(&mut self) -> Result<(), Failure> {
        self.watch_for(CALM).await?;
        self.kill().await?;
        self.take_the_hub_away().await?;
        self.delete("cellar").await?;
        self.disable("garden").await?;
        self.roll_keys("workshop").await?;
        self.tell("", "enough: the devices stop, what waits is delivered, and everything is compared at the hub")?;
        self.quiet.cancel();
        while self.devices.join_next().await.is_some() {}
        self.until("everything is delivered", |look| look.waiting == 0).await?;
        let summary = self.compare().await?;
        self.curtain(&summary)
    }

    async fn kill(&mut self) -> Result<(), Failure> {
        self.blow(&format!("kill -9 of the server (process {})", self.server.id()))?;
        self.server.kill().await?;
        let dead = Instant::now();
        self.server.start_again().await?;
        self.watch.again(&self.folder)?;
        let look = self.look().await?;
        let seconds = dead.elapsed().as_secs_f32();
        self.noticed(&format!(
            "process {} has opened the journal and listens after {seconds:.1} s; {} signals wait for the hub",
            self.server.id(),
            look.waiting
        ))?;
        self.flows().await
    }

    async fn take_the_hub_away(&mut self) -> Result<(), Failure> {
        self.blow("the hub goes away")?;
        if let Some(hub) = self.hub.take() {
            hub.stop().await;
        }
        self.until("the hub is away", |look| look.hub_away).await?;
        self.watch_for(AWAY).await?;
        let waiting = self.look().await?.waiting;
        self.blow(&format!("the hub comes back ({waiting} signals were acknowledged meanwhile and wait)"))?;
        self.hub = Some(RunningHub::start(hub_options(&self.folder)).await?);
        self.until("the hub is back", |look| !look.hub_away).await?;
        self.flows().await
    }

    async fn delete(&mut self, name: &str) -> Result<(), Failure> {
        let id = self.hub_device_id(name)?;
        self.blow(&format!("somebody deletes the identity {id}"))?;
        let before = self.look().await?.done.len();
        self.portal.delete(&id).await?;
        self.healed(name, before).await
    }

    async fn disable(&mut self, name: &str) -> Result<(), Failure> {
        let id = self.hub_device_id(name)?;
        self.blow(&format!("somebody disables the identity {id}"))?;
        self.portal.enable(&id, false).await?;
        let held = [BindingState::Disabled, BindingState::Held];
        self.until("it is held", |look| look.states.get(name).is_some_and(|state| held.contains(state))).await?;
        self.watch_for(AWAY).await?;
        self.blow(&format!("somebody enables {id} again"))?;
        self.portal.enable(&id, true).await?;
        self.until("it delivers again", |look| look.states.get(name) == Some(&BindingState::Delivering)).await?;
        self.flows().await
    }

    async fn roll_keys(&mut self, name: &str) -> Result<(), Failure> {
        let id = self.hub_device_id(name)?;
        self.blow(&format!("somebody rolls both keys of the identity {id}"))?;
        let before = self.look().await?.done.len();
        self.portal.roll_keys(&id).await?;
        self.healed(name, before).await
    }

    /// Waits until Hubward has done something by itself beyond the `before` entries in its audit log, or tells of this
    /// device, and delivers for it again.
    async fn healed(&mut self, name: &str, before: usize) -> Result<(), Failure> {
        let repaired = |look: &Look| look.done.len() > before || look.alarmed.contains(name);
        self.until("Hubward notices", repaired).await?;
        let delivers = |look: &Look| look.states.get(name) == Some(&BindingState::Delivering);
        self.until("it delivers again", delivers).await?;
        self.flows().await
    }

    /// Everything flows again, for a while.
    async fn flows(&mut self) -> Result<(), Failure> {
        self.until("nothing waits long", |look| look.waiting <= CAST.len() as u64).await?;
        let count = self.sent.lock().unwrap_or_else(PoisonError::into_inner).count();
        self.tell("", &format!("signals flow again: {count} sent so far"))?;
        self.watch_for(CALM).await
    }

    /// Says what Hubward says, for so long.
    async fn watch_for(&mut self, time: Duration) -> Result<(), Failure> {
        let end = Instant::now() + time;
        while Instant::now() < end {
            self.look().await?;
            sleep(LOOK).await;
        }
        Ok(())
    }

    /// Says what Hubward says until it says what is wanted.
    async fn until(&mut self, what: &str, wanted: impl Fn(&Look) -> bool) -> Result<(), Failure> {
        let end = Instant::now() + PATIENCE;
        while !wanted(&self.look().await?) {
            if Instant::now() > end {
                let message = format!("after {} s it is still not so that {what}", PATIENCE.as_secs());
                return Err(Failure::new("not_healed", message, REPORT));
            }
            sleep(LOOK).await;
        }
        Ok(())
    }

    async fn look(&mut self) -> Result<Look, Failure> {
        let look = tokio::select! {
            look = self.watch.look() => look?,
            ended = self.server.ended() => return Err(ended),
        };
        for news in &look.news {
            self.noticed(news)?;
        }
        Ok(look)
    }

    /// Reads the whole hub until everything is there, or it takes too long.
    async fn compare(&self) -> Result<Summary, Failure> {
        let ca = std::fs::read_to_string(&self.info.ca_file);
        let ca = ca.map_err(|error| Failure::unexpected("reading the local hub's certificate", error))?;
        let reach = Reach { ca: Some(ca), endpoint: None };
        let mut monitor = Monitor::open(&self.info.connection_strings.eventhubs_tls, &reach, Start::Beginning).await?;
        let mut hub = AtHub::new();
        let end = Instant::now() + PATIENCE;
        loop {
            // Repeats of what is there may come behind it: read on until the hub has nothing more for a moment.
            let complete = self.sent.lock().unwrap_or_else(PoisonError::into_inner).all_at(&hub);
            let until = if complete { Instant::now() + LOOK * 4 } else { end };
            match timeout_at(until, monitor.next()).await {
                Ok(event) => {
                    let event = event?;
                    let id = event.message_id().unwrap_or_default().to_owned();
                    hub.entry(event.device_id).or_default().push((id, event.body));
                }
                Err(_) => break,
            }
        }
        let dead_letters = self.watch.dead_letters().await?;
        Ok(self.sent.lock().unwrap_or_else(PoisonError::into_inner).compare(&hub, dead_letters))
    }

    fn curtain(&self, summary: &Summary) -> Result<(), Failure> {
        if self.json {
            output::json(summary)?;
        } else {
            let order = if summary.order_kept { "kept" } else { "BROKEN" };
            output::line("")?;
            output::line(&format!(
                "Summary: sent {}, accepted {}, repeated {}, dead letters {}, lost {}, order {order}, in {:.0} s",
                summary.sent,
                summary.accepted,
                summary.repeated,
                summary.dead_letters,
                summary.lost,
                self.began.elapsed().as_secs_f32()
            ))?;
            if summary.sent_again > 0 {
                output::line(&format!(
                    "({} of them their devices published twice, because no acknowledgement came before the kill)",
                    summary.sent_again
                ))?;
            }
        }
        if summary.is_right() {
            return Ok(());
        }
        Err(Failure::new("signals_lost", format!("what is at the hub is not what was sent: {summary:?}"), REPORT))
    }

    fn hub_device_id(&self, name: &str) -> Result<String, Failure> {
        let found = self.actors.iter().find(|actor| actor.name == name).map(|actor| actor.hub_device_id.clone());
        found.ok_or_else(|| Failure::unexpected("finding a device", format!("{name} does not play")))
    }

    fn blow(&self, text: &str) -> Result<(), Failure> {
        self.tell("BLOW", text)
    }

    fn noticed(&self, text: &str) -> Result<(), Failure> {
        self.tell("Hubward", text)
    }

    fn tell(&self, who: &str, text: &str) -> Result<(), Failure> {
        let seconds = self.began.elapsed().as_secs_f32();
        if self.json {
            return output::json(&serde_json::json!({ "seconds": seconds, "who": who, "text": text }));
        }
        output::line(&format!("{seconds:>6.1} s  {who:<8} {text}"))
    }
}

/// What to do about an end that must not be.
const REPORT: &str = "this must not happen: please report it with the output above";

fn hub_options(folder: &Path) -> Options {
    Options::new(folder.join("hub"))
}
