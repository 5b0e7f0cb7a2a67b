use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use hubward_amqp::message::Message;
use serde_json::{Map, Value, json};
use tokio::sync::mpsc;

use super::*;
use crate::Clock;
use crate::change_log::LogError;
use crate::identity::{Command, Condition, Draft, Identities, Identity};
use crate::presence::{ConnectionId, Interest, Notice, Presence};

/// What is kept of devices, in a folder of its own, with a clock of its own.
struct Kept {
    devices: Arc<Devices>,
    presence: Arc<Presence>,
    identities: Identities,
    clock: Clock,
    running: Running,
    dir: tempfile::TempDir,
}

impl Kept {
    fn new() -> Self {
        Self::open(tempfile::tempdir().unwrap(), Clock::system())
    }

    fn open(dir: tempfile::TempDir, clock: Clock) -> Self {
        let identities = Identities::open(&dir.path().join("registry.log"), None, clock.clone()).unwrap();
        let presence = Arc::new(Presence::new(clock.clone()));
        let options = DevicesOptions {
            path: dir.path().join("devices.log"),
            feedback_delay: Duration::from_secs(15),
            clock: clock.clone(),
        };
        let (devices, running) = Devices::open(options, &identities, presence.clone()).unwrap();
        Self { devices, presence, identities, clock, running, dir }
    }

    /// Ends without a stop, as a killed hub does, and opens again what is on disk.
    fn after_a_kill(self) -> Self {
        let copy = tempfile::tempdir().unwrap();
        for file in std::fs::read_dir(self.dir.path()).unwrap() {
            let path = file.unwrap().path();
            std::fs::copy(&path, copy.path().join(path.file_name().unwrap())).unwrap();
        }
        Self::open(copy, self.clock)
    }

    async fn after_a_stop(self) -> Self {
        let Self { running, dir, clock, .. } = self;
        running.stop().await;
        Self::open(dir, clock)
    }

    fn device(&self, id: &str) -> Arc<Identity> {
        let draft = Draft { device_id: id.to_owned(), ..Draft::default() };
        self.identities.run(&[Command::Create(draft)]).unwrap().remove(0).unwrap();
        self.identities.get(id).unwrap()
    }

    fn hours(&self, hours: u64) {
        self.clock.advance(Duration::from_secs(hours * 3600));
    }

    fn seconds(&self, seconds: u64) {
        self.clock.advance(Duration::from_secs(seconds));
    }

    async fn enqueue(&self, to: &Identity, body: &str, ack: &str) {
        self.devices.enqueue(to, message(body, ack)).await.unwrap();
    }

    /// What feedback there is, as pairs of message id and status.
    fn feedback(&self) -> Vec<(String, String)> {
        let Some(feedback) = self.devices.receive_feedback() else { return Vec::new() };
        let records: Vec<Value> = serde_json::from_slice(&feedback.body).unwrap();
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        records.iter().map(|record| (text(&record["originalMessageId"]), text(&record["statusCode"]))).collect()
    }
}

fn message(body: &str, ack: &str) -> Message {
    let mut message = Message::data(body.to_owned());
    message.properties.message_id = Some(body.into());
    message.application_properties.push(("iothub-ack".into(), ack.into()));
    message
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(object) => object,
        other => panic!("{other}"),
    }
}

fn desired(value: Value) -> TwinChange {
    TwinChange { desired: Some(object(value)), tags: None }
}

fn bodies(received: &[Received]) -> Vec<String> {
    received.iter().map(|one| String::from_utf8(one.message.body_bytes().unwrap().to_vec()).unwrap()).collect()
}

fn pairs<const N: usize>(pairs: [(&str, &str); N]) -> Vec<(String, String)> {
    pairs.into_iter().map(|(id, status)| (id.to_owned(), status.to_owned())).collect()
}

#[tokio::test]
async fn a_twin_merges_patches_and_a_null_deletes() {
    let kept = Kept::new();
    let device = kept.device("d");
    let fresh = kept.devices.twin(&device);
    assert_eq!((fresh.desired.version, fresh.reported.version), (1, 1));
    assert_eq!(fresh.etag(), "AAAAAAAAAAE=");
    let first = desired(json!({"a": {"x": 1, "y": 2}, "b": [1, 2], "$version": 7}));
    kept.devices.patch_twin(&device, &first, &Condition::Any).await.unwrap();
    let second = desired(json!({"a": {"x": null, "z": {"w": null}}, "b": [3], "gone": null}));
    let twin = kept.devices.patch_twin(&device, &second, &Condition::Any).await.unwrap();
    assert_eq!(twin.desired.bare_json(), json!({"a": {"y": 2, "z": {}}, "b": [3], "$version": 3}));
    let shown = twin.desired.to_json();
    assert_eq!(shown["$metadata"]["$lastUpdatedVersion"], 3);
    assert_eq!(shown["$metadata"]["a"]["y"]["$lastUpdatedVersion"], 2, "what was left alone keeps its time");
    assert_eq!(shown["$metadata"]["b"]["$lastUpdatedVersion"], 3);
    assert!(shown["$metadata"]["a"]["x"].is_null());
    let tags = TwinChange { tags: Some(object(json!({"site": {"hall": 1}}))), desired: None };
    let twin = kept.devices.patch_twin(&device, &tags, &Condition::Any).await.unwrap();
    assert_eq!((twin.desired.version, &twin.tags), (3, &object(json!({"site": {"hall": 1}}))));
    let version = kept.devices.patch_reported(&device, &object(json!({"r": 1}))).await.unwrap();
    assert_eq!(version, 2);
    let twin = kept.devices.twin(&device);
    assert!(twin.reported.to_json()["$metadata"]["r"]["$lastUpdatedVersion"].is_null());
    assert_eq!(twin.for_device(), json!({"desired": twin.desired.bare_json(), "reported": {"r": 1, "$version": 2}}));
    kept.running.stop().await;
}

#[tokio::test]
async fn a_put_replaces_tags_and_desired_properties_and_leaves_what_the_device_reported() {
    let kept = Kept::new();
    let device = kept.device("d");
    kept.devices.patch_twin(&device, &desired(json!({"a": 1, "b": 2})), &Condition::Any).await.unwrap();
    kept.devices.patch_reported(&device, &object(json!({"r": 1}))).await.unwrap();
    let twin = kept.devices.replace_twin(&device, &desired(json!({"c": 3})), &Condition::Any).await.unwrap();
    assert_eq!(twin.desired.bare_json(), json!({"c": 3, "$version": 3}));
    assert_eq!(twin.reported.bare_json(), json!({"r": 1, "$version": 2}));
    kept.running.stop().await;
}

#[tokio::test]
async fn a_twin_changed_meanwhile_is_not_changed_and_reports_leave_the_etag() {
    let kept = Kept::new();
    let device = kept.device("d");
    let etag = kept.devices.twin(&device).etag();
    kept.devices.patch_reported(&device, &object(json!({"r": 1}))).await.unwrap();
    let condition = Condition::ETag(etag);
    let change = desired(json!({"a": 1}));
    kept.devices.patch_twin(&device, &change, &condition).await.unwrap();
    assert_eq!(kept.devices.patch_twin(&device, &change, &condition).await, Err(Failed::Precondition));
    assert_eq!(kept.devices.replace_twin(&device, &change, &condition).await, Err(Failed::Precondition));
    kept.running.stop().await;
}

#[tokio::test]
async fn what_may_not_stand_in_a_twin_changes_nothing() {
    let kept = Kept::new();
    let device = kept.device("d");
    let large: Map<String, Value> = (0..9).map(|n| (format!("k{n}"), "x".repeat(4000).into())).collect();
    let refused = kept.devices.patch_reported(&device, &large).await;
    assert!(matches!(refused, Err(Failed::TwinInvalid(_))), "{refused:?}");
    let refused = kept.devices.patch_twin(&device, &desired(json!({"a.b": 1})), &Condition::Any).await;
    assert!(matches!(refused, Err(Failed::TwinInvalid(_))), "{refused:?}");
    assert_eq!(kept.devices.twin(&device).version, 2);
    kept.running.stop().await;
}

#[tokio::test]
async fn the_device_hears_of_desired_changes_in_order_and_not_of_others() {
    let kept = Kept::new();
    let device = kept.device("d");
    let (notices, mut heard) = mpsc::unbounded_channel();
    let connection = ConnectionId(1);
    kept.presence.claim(&device.device_id, connection, &notices);
    kept.presence.listen("d", connection, Interest::Desired, true);
    for number in 0..3 {
        kept.devices.patch_twin(&device, &desired(json!({"n": number})), &Condition::Any).await.unwrap();
        let tags = TwinChange { tags: Some(object(json!({"t": number}))), desired: None };
        kept.devices.patch_twin(&device, &tags, &Condition::Any).await.unwrap();
    }
    for number in 0..3 {
        let Some(Notice::Desired(_, update)) = heard.recv().await else { panic!("a desired update") };
        let patch: Value = serde_json::from_slice(&update.patch_json).unwrap();
        assert_eq!(patch, json!({"n": number, "$version": number + 2}));
    }
    kept.running.stop().await;
    assert!(heard.try_recv().is_err());
}

#[tokio::test]
async fn fifty_messages_wait_for_a_device_and_no_more() {
    let kept = Kept::new();
    let device = kept.device("d");
    for number in 0..50 {
        kept.enqueue(&device, &number.to_string(), "none").await;
    }
    assert_eq!(kept.devices.enqueue(&device, message("x", "none")).await, Err(Failed::QueueFull));
    let received = kept.devices.receive(&device, Holder::Https, 1);
    let still_full = kept.devices.enqueue(&device, message("x", "none")).await;
    assert_eq!(still_full, Err(Failed::QueueFull), "a locked message still counts");
    kept.devices.settle(&device, received[0].lock_token, Settle::Complete).await.unwrap();
    kept.enqueue(&device, "x", "none").await;
    assert_eq!(kept.devices.message_count(&device), 50);
    assert_eq!(kept.devices.purge(&device).await, Ok(50));
    assert_eq!(kept.devices.message_count(&device), 0);
    kept.running.stop().await;
}

#[tokio::test]
async fn a_locked_message_goes_to_nobody_else_until_its_lock_runs_out() {
    let kept = Kept::new();
    let device = kept.device("d");
    kept.enqueue(&device, "a", "none").await;
    kept.enqueue(&device, "b", "none").await;
    let first = kept.devices.receive(&device, Holder::Https, 1);
    let second = kept.devices.receive(&device, Holder::Https, 9);
    assert_eq!((bodies(&first), bodies(&second)), (vec!["a".to_owned()], vec!["b".to_owned()]));
    kept.seconds(60);
    let again = kept.devices.receive(&device, Holder::Https, 9);
    assert_eq!(bodies(&again), ["a", "b"]);
    assert_eq!(again[0].delivery_count, 0, "only giving back counts");
    let late = kept.devices.settle(&device, first[0].lock_token, Settle::Complete).await;
    assert_eq!(late, Err(Failed::LockLost));
    kept.running.stop().await;
}

#[tokio::test]
async fn a_message_given_back_ten_times_is_delivered_no_more() {
    let kept = Kept::new();
    let device = kept.device("d");
    kept.enqueue(&device, "a", "full").await;
    for count in 0..10 {
        let received = kept.devices.receive(&device, Holder::Https, 1);
        assert_eq!(received[0].delivery_count, count);
        kept.devices.settle(&device, received[0].lock_token, Settle::Abandon).await.unwrap();
    }
    assert!(kept.devices.receive(&device, Holder::Https, 1).is_empty());
    kept.seconds(15);
    assert_eq!(kept.feedback(), pairs([("a", "DeliveryCountExceeded")]));
    kept.running.stop().await;
}

#[tokio::test]
async fn a_connections_end_frees_what_it_had_locked_and_the_next_one_is_told() {
    let kept = Kept::new();
    let device = kept.device("d");
    kept.enqueue(&device, "a", "none").await;
    let (first, second) = (ConnectionId(1), ConnectionId(2));
    assert_eq!(kept.devices.receive(&device, Holder::Mqtt(first), 9).len(), 1);
    kept.hours(0);
    kept.seconds(90);
    assert!(kept.devices.receive(&device, Holder::Mqtt(second), 9).is_empty(), "no lock of MQTT runs out");
    let (notices, mut heard) = mpsc::unbounded_channel();
    kept.presence.claim(&device.device_id, second, &notices);
    kept.presence.listen("d", second, Interest::Messages, true);
    kept.devices.release("d", first);
    assert_eq!(heard.recv().await, Some(Notice::Messages("d".into())));
    assert_eq!(bodies(&kept.devices.receive(&device, Holder::Mqtt(second), 9)), ["a"]);
    kept.running.stop().await;
}

#[tokio::test]
async fn messages_expire_by_themselves_and_the_sender_hears_of_it() {
    let kept = Kept::new();
    let device = kept.device("d");
    let mut short = message("short", "negative");
    let now = kept.clock.now().as_millis();
    short.properties.absolute_expiry_time = Some(now + 60_000);
    kept.devices.enqueue(&device, short).await.unwrap();
    kept.enqueue(&device, "hour", "full").await;
    let mut long = message("long", "full");
    long.properties.absolute_expiry_time = Some(now + 30 * 24 * 3_600_000);
    kept.devices.enqueue(&device, long).await.unwrap();
    // The keeper lets them expire; nobody asks for them.
    let wait = async |count: usize| {
        while kept.devices.message_count(&device) != count {
            tokio::task::yield_now().await;
        }
    };
    kept.seconds(61);
    wait(2).await;
    kept.seconds(15);
    assert_eq!(kept.feedback(), pairs([("short", "Expired")]));
    kept.hours(1);
    wait(1).await;
    kept.seconds(15);
    assert_eq!(kept.feedback(), pairs([("hour", "Expired")]));
    kept.hours(48);
    wait(0).await;
    kept.running.stop().await;
}

#[tokio::test]
async fn feedback_comes_for_the_outcomes_that_were_asked_for() {
    let kept = Kept::new();
    let device = kept.device("d");
    for ack in ["none", "positive", "negative", "full"] {
        for how in [Settle::Complete, Settle::Reject] {
            kept.enqueue(&device, &format!("{ack}-{how:?}"), ack).await;
            let received = kept.devices.receive(&device, Holder::Https, 1);
            kept.devices.settle(&device, received[0].lock_token, how).await.unwrap();
        }
    }
    kept.enqueue(&device, "purged", "full").await;
    kept.devices.purge(&device).await.unwrap();
    assert_eq!(kept.feedback(), [], "records wait for others for 15 seconds");
    kept.seconds(15);
    let expected = pairs([
        ("positive-Complete", "Success"),
        ("negative-Reject", "Rejected"),
        ("full-Complete", "Success"),
        ("full-Reject", "Rejected"),
        ("purged", "Purged"),
    ]);
    assert_eq!(kept.feedback(), expected);
    kept.running.stop().await;
}

#[tokio::test]
async fn feedback_is_there_until_it_is_completed() {
    let kept = Kept::new();
    let device = kept.device("d");
    for number in 0..64 {
        kept.enqueue(&device, &number.to_string(), "full").await;
        let received = kept.devices.receive(&device, Holder::Https, 1);
        kept.devices.settle(&device, received[0].lock_token, Settle::Complete).await.unwrap();
    }
    let first = kept.devices.receive_feedback().expect("64 records wait for no others");
    assert!(kept.devices.receive_feedback().is_none(), "it is locked");
    kept.devices.settle_feedback(first.lock_token, Settle::Abandon).await.unwrap();
    let again = kept.devices.receive_feedback().unwrap();
    assert_eq!(again.body, first.body);
    kept.seconds(60);
    let after_lock = kept.devices.receive_feedback().unwrap();
    assert_eq!(kept.devices.settle_feedback(again.lock_token, Settle::Complete).await, Err(Failed::LockLost));
    kept.devices.settle_feedback(after_lock.lock_token, Settle::Complete).await.unwrap();
    kept.hours(0);
    assert!(kept.devices.receive_feedback().is_none());
    let kept = kept.after_a_stop().await;
    kept.seconds(60);
    assert!(kept.devices.receive_feedback().is_none(), "also after a restart");
    kept.running.stop().await;
}

#[tokio::test]
async fn what_was_answered_survives_a_kill() {
    let kept = Kept::new();
    let (a, b) = (kept.device("a"), kept.device("b"));
    kept.devices.patch_twin(&a, &desired(json!({"x": {"y": 1}})), &Condition::Any).await.unwrap();
    kept.devices.patch_reported(&a, &object(json!({"r": "ü"}))).await.unwrap();
    kept.devices.set_model_id(&a, "dtmi:com:example;1").await.unwrap();
    kept.devices.set_session(&a, Some([("$iothub/twin/res/#".to_owned(), 1)].into())).await.unwrap();
    for body in ["done", "rejected", "back", "waits"] {
        kept.enqueue(&b, body, "full").await;
    }
    let received = kept.devices.receive(&b, Holder::Https, 3);
    for (one, how) in received.iter().zip([Settle::Complete, Settle::Reject, Settle::Abandon]) {
        kept.devices.settle(&b, one.lock_token, how).await.unwrap();
    }
    let (twin, session) = (kept.devices.twin(&a), kept.devices.session(&a));
    let kept = kept.after_a_kill();
    assert_eq!((kept.devices.twin(&a), kept.devices.session(&a)), (twin, session));
    let received = kept.devices.receive(&b, Holder::Https, 9);
    assert_eq!(bodies(&received), ["back", "waits"]);
    assert_eq!(received.iter().map(|one| one.delivery_count).collect::<Vec<_>>(), [1, 0]);
    assert_eq!(received[0].message.properties.to.as_deref(), Some("/devices/b/messages/devicebound"));
    kept.seconds(15);
    assert_eq!(kept.feedback(), pairs([("done", "Success"), ("rejected", "Rejected")]));
    kept.running.stop().await;
}

#[tokio::test]
async fn a_torn_last_line_is_cut_and_a_damaged_one_is_named() {
    let kept = Kept::new();
    let device = kept.device("d");
    kept.devices.patch_reported(&device, &object(json!({"r": 1}))).await.unwrap();
    kept.devices.patch_reported(&device, &object(json!({"r": 2}))).await.unwrap();
    let path = |dir: &Path| dir.join("devices.log");
    let Kept { running, dir, clock, .. } = kept;
    running.stop().await;
    let whole = std::fs::read(path(dir.path())).unwrap();
    let text = String::from_utf8(whole.clone()).unwrap();
    let end_of_second_report = text.match_indices('\n').nth(2).unwrap().0;
    std::fs::write(path(dir.path()), &whole[..end_of_second_report - 3]).unwrap();
    let kept = Kept::open(dir, clock);
    assert_eq!(kept.devices.twin(&device).reported.values, object(json!({"r": 1})));
    let Kept { running, dir, clock, identities, presence, .. } = kept;
    running.stop().await;
    let mut damaged = whole;
    damaged[60] ^= 1;
    std::fs::write(path(dir.path()), damaged).unwrap();
    let options = DevicesOptions { path: path(dir.path()), feedback_delay: Duration::ZERO, clock };
    let error = Devices::open(options, &identities, presence).unwrap_err();
    assert!(matches!(error, OpenError::Log(LogError::Damaged { line: 2, .. })), "{error}");
}

#[tokio::test]
async fn a_device_made_anew_begins_empty_also_after_a_kill() {
    let kept = Kept::new();
    let first = kept.device("d");
    kept.devices.patch_reported(&first, &object(json!({"r": 1}))).await.unwrap();
    kept.enqueue(&first, "a", "none").await;
    kept.identities.run(&[Command::Delete("d".to_owned(), Condition::Any)]).unwrap().remove(0).unwrap();
    // The hub ends before it says here that the identity is gone.
    let kept = kept.after_a_kill();
    let second = kept.device("d");
    assert!(kept.devices.twin(&second).reported.values.is_empty());
    assert_eq!(kept.devices.message_count(&second), 0);
    kept.enqueue(&second, "b", "none").await;
    kept.devices.forget("d");
    assert_eq!(kept.devices.message_count(&second), 0);
    let kept = kept.after_a_stop().await;
    assert_eq!(kept.devices.message_count(&second), 0);
    kept.running.stop().await;
}

#[tokio::test]
async fn who_was_seen_is_known_after_a_stop() {
    let kept = Kept::new();
    let device = kept.device("d");
    let connection = ConnectionId(1);
    kept.presence.claim(&device.device_id, connection, &mpsc::unbounded_channel().0);
    kept.seconds(60);
    kept.presence.touched(&device.device_id);
    let seen = kept.presence.seen("d");
    let kept = kept.after_a_stop().await;
    let after = kept.presence.seen("d");
    assert!(!after.connected);
    assert_eq!((after.state_changed_at, after.last_activity), (seen.state_changed_at, seen.last_activity));
    kept.running.stop().await;
}

#[tokio::test]
async fn the_file_is_rewritten_when_most_of_it_is_history() {
    let kept = Kept::new();
    let device = kept.device("d");
    let large: Map<String, Value> = (0..7).map(|n| (format!("k{n}"), "x".repeat(4000).into())).collect();
    // Each report writes the twin of 28 KB anew: 1000 are far more than the 16 MB that may be history.
    let reports = (0..1000).map(|_| kept.devices.patch_reported(&device, &large));
    for report in futures_util::future::join_all(reports).await {
        report.unwrap();
    }
    // Reports are answered before the file is rewritten; what comes next is written after it.
    kept.enqueue(&device, "a", "none").await;
    let length = std::fs::metadata(kept.dir.path().join("devices.log")).unwrap().len();
    assert!(length < 17 << 20, "{length}");
    let kept = kept.after_a_kill();
    assert_eq!(kept.devices.twin(&device).reported.version, 1001);
    assert_eq!(kept.devices.message_count(&device), 1);
    kept.running.stop().await;
}

#[tokio::test]
async fn a_method_finds_the_device_that_listens_and_its_answer_finds_the_caller() {
    let kept = Kept::new();
    let device = kept.device("d");
    let (notices, mut heard) = mpsc::unbounded_channel();
    let connection = ConnectionId(1);
    let (short, long) = (Duration::ZERO, Duration::from_secs(60));
    let call = |connect, response| kept.devices.invoke("d", "reboot", "{}".into(), connect, response);
    assert_eq!(call(short, long).await, Err(MethodFailed::NotOnline));
    kept.presence.claim(&device.device_id, connection, &notices);
    assert_eq!(call(short, long).await, Err(MethodFailed::NotOnline), "connected is not listening");
    let answering = async {
        // The call waits for the device to listen.
        tokio::task::yield_now().await;
        kept.presence.listen("d", connection, Interest::Methods, true);
        let Some(Notice::Method(_, request)) = heard.recv().await else { panic!("a call") };
        assert_eq!(request.name, "reboot");
        assert!(!kept.devices.answer_method("e", request.id, 200, "1".into()), "not the device that was called");
        assert!(kept.devices.answer_method("d", request.id, 200, "1".into()));
        assert!(!kept.devices.answer_method("d", request.id, 200, "1".into()), "nobody waits any more");
    };
    let (answer, ()) = tokio::join!(call(long, long), answering);
    assert_eq!(answer, Ok(MethodAnswer { status: 200, payload: "1".into() }));
    assert_eq!(call(short, short).await, Err(MethodFailed::TimedOut));
    kept.running.stop().await;
}
