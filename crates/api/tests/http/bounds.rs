//! What each read costs: rows of the registry and segments of the journal, as many of a large store as of a small one.
//!
//! Every GET of the document is in the table; a new one without its line fails.

use std::sync::Arc;

use axum::http::{Method, StatusCode};
use hubward_model::{BindingState, DeviceId, IntegrationId, MessageId, Offset, Timestamp};
use hubward_registry::dead_letters::NewDeadLetter;
use hubward_registry::{
    Activity, Actor, Alarm, AlarmKey, AlarmKind, BindingChange, ConnectionChange, NewBinding, NewExpired, Observed,
    Role, SecretString, SeriesSeen, Traffic, TrafficSeen,
};
use serde_json::{Value, json};

use crate::changes::{devices, integration};
use crate::kit::Rig;
use crate::openapi::operations;
use crate::watched::{Reads, Watched};

/// What bounds a read.
enum Bound {
    /// Asked by these addresses, it costs the same however much is stored.
    Same(&'static [&'static str]),
    /// It lasts until whoever listens has enough, in steps that are bounded each, and holds none of them.
    Steps,
}
use Bound::{Same, Steps};

/// `{…}` stand for what [`Store`] knows.
const READS: &[(&str, Bound)] = &[
    ("/api/v1/setup", Same(&["/api/v1/setup"])),
    ("/api/v1/session", Same(&["/api/v1/session"])),
    ("/api/v1/sessions", Same(&["/api/v1/sessions"])),
    ("/api/v1/users", Same(&["/api/v1/users?limit=1000"])),
    ("/api/v1/users/{user}", Same(&["/api/v1/users/viewer"])),
    ("/api/v1/tokens", Same(&["/api/v1/tokens?limit=1000"])),
    (
        "/api/v1/audit",
        Same(&[
            "/api/v1/audit?limit=20",
            "/api/v1/audit?limit=20&who=nobody",
            "/api/v1/audit?limit=20&subject=nothing",
            "/api/v1/audit?limit=20&order=asc",
        ]),
    ),
    ("/api/v1/about", Same(&["/api/v1/about"])),
    ("/api/v1/settings", Same(&["/api/v1/settings"])),
    ("/api/v1/keys", Same(&["/api/v1/keys"])),
    ("/api/v1/journal/info", Same(&["/api/v1/journal/info"])),
    ("/api/v1/overview", Same(&["/api/v1/overview"])),
    ("/api/v1/mqtt/dropped", Same(&["/api/v1/mqtt/dropped"])),
    (
        "/api/v1/devices",
        Same(&[
            "/api/v1/devices?limit=20",
            "/api/v1/devices?limit=20&q=board&sort=last_seen",
            "/api/v1/devices?limit=20&sort=waiting",
            "/api/v1/devices?limit=20&sort=signals_last_hour&order=asc",
            "/api/v1/devices?limit=20&state=never_seen&kind=mqtt",
            "/api/v1/devices?limit=20&integration=plant",
        ]),
    ),
    ("/api/v1/devices/{device}", Same(&["/api/v1/devices/board-00000", "/api/v1/devices/{id}"])),
    ("/api/v1/devices/{device}/removal", Same(&["/api/v1/devices/board-00000/removal"])),
    ("/api/v1/devices/{device}/snippets", Same(&["/api/v1/devices/board-00000/snippets"])),
    ("/api/v1/devices/{device}/silence", Same(&["/api/v1/devices/board-00000/silence"])),
    (
        "/api/v1/devices/{device}/connections",
        Same(&["/api/v1/devices/board-00000/connections?limit=20", "/api/v1/devices/board-00001/connections"]),
    ),
    (
        "/api/v1/devices/{device}/signals",
        Same(&[
            "/api/v1/devices/board-00000/signals?limit=5",
            "/api/v1/devices/board-00000/signals?limit=500",
            "/api/v1/devices/board-00000/signals?signal=nothing",
            "/api/v1/devices/board-00001/signals?limit=20",
            "/api/v1/devices/board-00001/signals?until={early}",
        ]),
    ),
    ("/api/v1/devices/{device}/signals/export", Steps),
    (
        "/api/v1/devices/{device}/signals/{offset}",
        Same(&["/api/v1/devices/board-00000/signals/{oldest}", "/api/v1/devices/board-00000/signals/{newest}"]),
    ),
    (
        "/api/v1/devices/{device}/signals/{offset}/trace",
        Same(&[
            "/api/v1/devices/board-00000/signals/{oldest}/trace",
            "/api/v1/devices/board-00000/signals/{newest}/trace",
        ]),
    ),
    (
        "/api/v1/signals",
        Same(&[
            "/api/v1/signals?limit=5",
            "/api/v1/signals?limit=500",
            "/api/v1/signals?limit=5&device=board-00001",
            "/api/v1/signals?q=nowhere",
            "/api/v1/signals?topic=nowhere",
            "/api/v1/signals?state=accepted&limit=1",
            "/api/v1/signals?state=expired&device=board-00000",
            "/api/v1/signals?state=dead_letter&integration=plant",
            "/api/v1/signals?limit=5&until={early}",
            "/api/v1/signals?limit=5&since={early}",
        ]),
    ),
    ("/api/v1/devices/{device}/series", Same(&["/api/v1/devices/board-00000/series"])),
    (
        "/api/v1/devices/{device}/series/{key}/points",
        Same(&[
            "/api/v1/devices/board-00000/series/t/points",
            "/api/v1/devices/board-00000/series/t/points?points=2000",
            "/api/v1/devices/board-00000/series/nothing/points",
            "/api/v1/devices/board-00001/series/t/points?to={early}",
        ]),
    ),
    ("/api/v1/integrations", Same(&["/api/v1/integrations", "/api/v1/integrations?q=plant&sort=created_at"])),
    (
        "/api/v1/integrations/{integration}",
        Same(&["/api/v1/integrations/plant", "/api/v1/integrations/plant?devices=false"]),
    ),
    (
        "/api/v1/integrations/{integration}/devices",
        Same(&["/api/v1/integrations/plant/devices?limit=20", "/api/v1/integrations/plant/devices?limit=20&q=board"]),
    ),
    ("/api/v1/integrations/{integration}/progress", Same(&["/api/v1/integrations/plant/progress"])),
    ("/api/v1/integrations/{integration}/delivered", Same(&["/api/v1/integrations/plant/delivered"])),
    ("/api/v1/integrations/{integration}/removal", Same(&["/api/v1/integrations/plant/removal"])),
    ("/api/v1/integrations/{integration}/drift", Same(&["/api/v1/integrations/plant/drift"])),
    (
        "/api/v1/integrations/{integration}/expired",
        Same(&[
            "/api/v1/integrations/plant/expired?limit=20",
            "/api/v1/integrations/plant/expired?limit=20&device=board-00001",
        ]),
    ),
    (
        "/api/v1/integrations/advice",
        Same(&["/api/v1/integrations/advice", "/api/v1/integrations/advice?devices=board-00000,board-00001"]),
    ),
    ("/api/v1/azure/script", Same(&["/api/v1/azure/script?hub=plant-7&group=g&region=westeurope&tier=S1&units=2"])),
    ("/api/v1/azure/check", Same(&["/api/v1/azure/check?hub=plant-7&name=plant&template=%7Bid%7D"])),
    ("/api/v1/drafts", Same(&["/api/v1/drafts"])),
    ("/api/v1/drafts/{draft}", Same(&["/api/v1/drafts/{draft}"])),
    ("/api/v1/hubs", Same(&["/api/v1/hubs"])),
    ("/api/v1/hubs/{host}", Same(&["/api/v1/hubs/localhost:1"])),
    (
        "/api/v1/deadletters",
        Same(&[
            "/api/v1/deadletters?limit=20",
            "/api/v1/deadletters?limit=20&order=desc&integration=plant",
            "/api/v1/deadletters?limit=20&code=rare",
            "/api/v1/deadletters?limit=20&device=board-00001",
        ]),
    ),
    ("/api/v1/deadletters/groups", Same(&["/api/v1/deadletters/groups"])),
    ("/api/v1/deadletters/export", Steps),
    ("/api/v1/deadletters/{id}", Same(&["/api/v1/deadletters/{letter}"])),
    (
        "/api/v1/alarms",
        Same(&[
            "/api/v1/alarms?limit=20",
            "/api/v1/alarms?limit=20&state=all&order=asc",
            "/api/v1/alarms?limit=20&kind=disk_full",
            "/api/v1/alarms?limit=20&integration=plant",
            "/api/v1/alarms?limit=20&device=board-00001",
        ]),
    ),
    ("/api/v1/alarms/totals", Same(&["/api/v1/alarms/totals"])),
    ("/api/v1/alarms/{id}", Same(&["/api/v1/alarms/{alarm}"])),
    ("/api/v1/webhook", Same(&["/api/v1/webhook"])),
    ("/api/v1/events", Steps),
    ("/api/openapi.json", Same(&["/api/openapi.json"])),
    ("/healthz", Same(&["/healthz"])),
    ("/readyz", Same(&["/readyz"])),
    ("/metrics", Same(&["/metrics"])),
];

/// Devices, and entries of each kind that may be many: few, then many.
const DEVICES: (usize, usize) = (250, 2_500);
const ENTRIES: (usize, usize) = (40, 240);
/// Signals: few are more segments than one look reads already, one signal in each.
const SIGNALS: (usize, usize) = (260, 800);
const PAYLOAD: &[u8] = &[b'x'; 3_500];

/// What is asked about.
struct Store {
    rig: Rig,
    read: Reads,
    plant: IntegrationId,
    boards: Vec<DeviceId>,
    words: Vec<(&'static str, String)>,
    entries: usize,
    signals: usize,
}

impl Store {
    async fn new() -> Self {
        let (files, read) = Watched::new();
        // The smallest segments there are.
        let rig = Rig::on(Arc::new(files), 4 << 10, |_| {}).await;
        rig.session(Role::Viewer).await;
        let boards = devices(&rig, "board", DEVICES.0).await;
        let plant = integration(&rig, "plant", &boards).await.parse().unwrap();
        let draft = rig.post("/api/v1/drafts", json!({ "data": {} })).await.json()["id"].as_str().unwrap().to_owned();
        let hook = rig.ask(Method::PUT, "/api/v1/webhook", Some(json!({ "url": "https://hooks.example/a" }))).await;
        assert_eq!(hook.status, StatusCode::OK);
        let words = vec![("draft", draft), ("id", boards[0].to_string())];
        let mut store = Self { rig, read, plant, boards, words, entries: 0, signals: 0 };
        let oldest = store.rig.signal(store.boards[0].as_str(), b"20.5").await;
        store.words.push(("oldest", oldest.to_string()));
        store.send(SIGNALS.0 / 2).await;
        store.words.push(("early", Timestamp::now().to_string()));
        store.send(SIGNALS.0).await;
        store.enter(ENTRIES.0).await;
        let registry = &store.rig.services.registry;
        let letter = registry.dead_letters(&Default::default()).await.unwrap().remove(0);
        let alarm = registry.alarms().await.unwrap().remove(0);
        store.words.extend([("letter", letter.id), ("alarm", alarm.id)]);
        store
    }

    async fn grow(&mut self) {
        let more = devices(&self.rig, "boards", DEVICES.1 - DEVICES.0).await;
        let binding = |device: &DeviceId| NewBinding {
            device: device.clone(),
            hub_device_id: format!("plant-{device}"),
            primary_key: SecretString::from("a"),
            secondary_key: SecretString::from("b"),
            start: Offset::default(),
        };
        let registry = &self.rig.services.registry;
        registry.add_bindings(&self.plant, more.iter().map(binding).collect()).await.unwrap();
        self.boards.extend(more);
        self.made_by_us().await;
        self.send(SIGNALS.1).await;
        self.enter(ENTRIES.1).await;
    }

    /// The identities of all devices are made at the hub, by Hubward.
    async fn made_by_us(&self) {
        let registry = &self.rig.services.registry;
        let made = |device: &DeviceId| BindingChange {
            state: Some(BindingState::Delivering),
            made_by_us: Some(true),
            generation_id: Some(Some("1".to_owned())),
            ..BindingChange::of(device.clone())
        };
        registry.change_bindings(&self.plant, self.boards.iter().map(made).collect()).await.unwrap();
    }

    /// Most are of the first device, one in ten is of the second.
    async fn send(&mut self, up_to: usize) {
        for n in self.signals..up_to {
            let newest = self.rig.signal(self.boards[usize::from(n % 10 == 9)].as_str(), PAYLOAD).await;
            if n % 10 != 9 {
                self.words.retain(|(word, _)| *word != "newest");
                self.words.push(("newest", newest.to_string()));
            }
        }
        self.signals = up_to;
    }

    /// Of everything that gathers by itself.
    async fn enter(&mut self, up_to: usize) {
        let registry = &self.rig.services.registry;
        let (first, journal) = (&self.boards[0], self.rig.services.journal.id().clone());
        let (mut letters, mut connections, mut observed) = (Vec::new(), Vec::new(), Observed::default());
        for n in self.entries..up_to {
            let offset = Offset::from_raw(n as u64 + 1);
            let at = Timestamp::from_millis(Timestamp::now().as_millis() + i64::try_from(n).unwrap());
            let board = &self.boards[n];
            let mut record = self.rig.services.journal.recent(first, 1).await.unwrap().remove(0);
            record.offset = offset;
            letters.push(NewDeadLetter {
                integration: self.plant.clone(),
                device: first.clone(),
                message_id: MessageId::new(&journal, record.epoch, offset),
                code: "message".to_owned(),
                reason: "refused".to_owned(),
                hub_error: None,
                attempts: 1,
                at,
                record,
            });
            let expired = NewExpired {
                integration: self.plant.clone(),
                device: first.clone(),
                from: offset,
                to: offset.next(),
                count: 1,
                bytes: 1,
                reason: "backlog_limit",
                at,
            };
            registry.add_expired(&expired).await.unwrap();
            let key = AlarmKey::device(AlarmKind::DeviceSilent, board);
            let alarm = Alarm { key: key.clone(), cause: "it is silent".to_owned(), remedy: "look".to_owned() };
            registry.raise_alarm(alarm).await.unwrap();
            if n % 2 == 1 {
                registry.clear_alarm(&key).await.unwrap();
            }
            let who = Actor { who: "test", via: None, remote: None };
            registry.audit(who, "device.edit", "a", Value::Null).await.unwrap();
            connections.push(ConnectionChange::Opened {
                id: hubward_registry::Registry::connection_id(at),
                device: first.clone(),
                at,
                peer: "127.0.0.1:1".to_owned(),
                protocol: "MQTT 5.0".to_owned(),
                keep_alive: 60,
            });
            observed.activity.push(Activity { device: board.clone(), last_seen: at, signals: 1 });
            observed.series.push(SeriesSeen {
                device: board.clone(),
                key: "t".to_owned(),
                number: 1,
                last_at: at,
                last_offset: offset,
                last_value: json!(1),
            });
            let mut traffic = Traffic::default();
            traffic.count(10);
            observed.traffic.push(TrafficSeen { device: Some(board.clone()), at, traffic });
        }
        registry.add_dead_letters(&letters).await.unwrap();
        registry.note_connections(&connections).await.unwrap();
        registry.save_observed(&journal, Offset::from_raw(1), &observed).await.unwrap();
        self.entries = up_to;
    }

    /// Steps of the registry, and files of the journal.
    async fn cost(&self, address: &str) -> (u64, usize) {
        let address = self.words.iter().fold(address.to_owned(), |address, (word, with)| {
            address.replace(&format!("{{{word}}}"), &with.replace('+', "%2B"))
        });
        let before = self.rig.services.registry.read_steps();
        self.read.lock().unwrap().clear();
        let answer = self.rig.get(&address).await;
        assert_eq!(answer.status, StatusCode::OK, "{address}: {}", String::from_utf8_lossy(&answer.body));
        (self.rig.services.registry.read_steps() - before, self.read.lock().unwrap().len())
    }

    async fn costs(&self) -> Vec<(&'static str, (u64, usize))> {
        let mut costs = Vec::new();
        for (_, bound) in READS {
            let Same(addresses) = bound else { continue };
            for address in *addresses {
                costs.push((*address, self.cost(address).await));
            }
        }
        costs
    }
}

#[test]
fn every_read_of_the_document_says_what_bounds_it() {
    let mut known: Vec<&str> = READS.iter().map(|(path, _)| *path).collect();
    known.sort_unstable();
    let mut reads: Vec<String> =
        operations().into_iter().filter(|(method, _, _)| method == "GET").map(|(_, path, _)| path).collect();
    reads.sort_unstable();
    assert_eq!(known, reads);
}

#[tokio::test]
async fn reads_touch_as_many_rows_and_segments_of_a_large_store_as_of_a_small_one() {
    let mut store = Store::new().await;
    store.made_by_us().await;
    let few = store.costs().await;
    store.grow().await;
    let many = store.costs().await;
    let mut over = Vec::new();
    for ((address, few), (_, many)) in few.iter().zip(&many) {
        // An integration is shown with up to 1,000 devices, and without where it has more.
        if many.0 > few.0 * 3 / 2 + 1_000 || many.1 > few.1 + 4 {
            over.push(format!("{address}: (steps, files) {few:?} became {many:?}"));
        }
    }
    assert!(over.is_empty(), "{over:#?}");
    assert!(few.iter().any(|(_, (_, files))| *files > 0) && few.iter().any(|(_, (steps, _))| *steps > 0), "{few:?}");
    store.rig.stop().await;
}
