//! Limits: reading pauses, and only after that something is dropped, counted.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use hubward_model::DeviceId;
use hubward_mqtt::client::{ClientError, ConnectOptions, Event};
use hubward_mqtt::protocol::{Connect, Packet, PacketId, Publish, Reason};
use hubward_mqtt::{Qos, Version};

use super::kit::*;
use crate::{Admission, DropReason, Options};

/// Waits until the committer is held up in a sync.
async fn held(kit: &Kit) {
    let files = kit.files.clone();
    within(tokio::task::spawn_blocking(move || files.wait_for_held_sync())).await.unwrap();
}

#[tokio::test]
async fn a_5_0_client_over_its_receive_maximum_is_told_and_closed() {
    let kit = Kit::with(Options { receive_maximum: 3, ..Options::default() }, |_| {});
    let mut raw = kit.raw(Version::V5).await;
    raw.send(&Packet::Connect(Box::new(Connect {
        version: Version::V5,
        clean_start: true,
        client_id: "c".into(),
        username: Some("d1".into()),
        password: Some("secret-d1".into()),
        ..Connect::default()
    })))
    .await
    .unwrap();
    match within(raw.receive()).await.unwrap() {
        Some(Packet::ConnAck(connack)) => assert_eq!(connack.receive_maximum, Some(3)),
        other => panic!("{other:?}"),
    }
    kit.files.hold_syncs();
    for id in 1..=4 {
        let publish = signal("d1", id).with_qos(Qos::AtLeastOnce);
        raw.queue(&Packet::Publish(Publish { packet_id: PacketId::new(id), ..publish })).unwrap();
    }
    raw.flush().await.unwrap();
    match within(raw.receive()).await.unwrap() {
        Some(Packet::Disconnect(disconnect)) => assert_eq!(disconnect.reason, Reason::RECEIVE_MAXIMUM_EXCEEDED),
        other => panic!("{other:?}"),
    }
    kit.files.release_syncs();
    assert_eq!(kit.wait_for_signals(3).await, ["1", "2", "3"]);
}

#[tokio::test]
async fn a_3_1_1_client_with_a_full_window_waits_and_loses_nothing() {
    let kit = Kit::with(Options { receive_maximum: 3, ..Options::default() }, |_| {});
    let mut client = kit.device(Version::V311, "d1").await;
    kit.files.hold_syncs();
    for n in 0..100 {
        client.send(signal("d1", n).with_qos(Qos::AtLeastOnce)).await.unwrap();
    }
    client.flush().await.unwrap();
    held(&kit).await;
    kit.files.release_syncs();
    for _ in 0..100 {
        acknowledgement(&mut client).await;
    }
    assert_eq!(kit.signals(), (0..100).map(|n| n.to_string()).collect::<Vec<_>>());
}

#[tokio::test]
async fn reading_pauses_at_the_budget_of_a_connection_and_of_the_journal_and_nothing_is_lost() {
    for (connection_bytes, queue_bytes) in [(10_000, 16 << 20), (2 << 20, 10_000)] {
        let kit = Kit::with(Options { connection_bytes, ..Options::default() }, |journal| {
            journal.queue_bytes = queue_bytes;
        });
        let mut clients = Vec::new();
        kit.files.hold_syncs();
        for id in ["d1", "d2"] {
            let mut client = kit.device(Version::V311, id).await;
            for n in 0..50 {
                let payload = format!("{id} {n} {}", "x".repeat(1_000));
                client.send(signal(id, payload).with_qos(Qos::AtMostOnce)).await.unwrap();
            }
            client.flush().await.unwrap();
            clients.push(client);
        }
        held(&kit).await;
        kit.files.release_syncs();
        let signals = kit.wait_for_signals(100).await;
        for id in ["d1", "d2"] {
            let own: Vec<_> = signals.iter().filter(|signal| signal.starts_with(id)).collect();
            assert!(own.iter().enumerate().all(|(n, signal)| signal.starts_with(&format!("{id} {n} "))));
        }
        assert_eq!(kit.dropped(), []);
    }
}

#[tokio::test]
async fn after_the_pause_qos_0_is_dropped_and_counted_while_pings_are_answered() {
    let options = Options { pause_limit: Duration::from_millis(100), connection_bytes: 3_000, ..Options::default() };
    let kit = Kit::with(options, |_| {});
    let mut client = kit.device(Version::V311, "d1").await;
    kit.files.hold_syncs();
    for n in 0..50 {
        client.send(signal("d1", format!("{n} {}", "x".repeat(500)))).await.unwrap();
    }
    client.flush().await.unwrap();
    // Answered only when reading goes on.
    within(client.ping()).await.unwrap();
    let dropped = kit.dropped();
    let count = dropped.first().map_or(0, |one| one.1);
    assert!(count > 0);
    assert_eq!(dropped, [(DropReason::JournalFull, count, Some(of_device("d1")))]);
    kit.files.release_syncs();
    // Room again: messages are taken again, and what was taken is an unbroken run and a later rest.
    within(async {
        loop {
            client.publish(signal("d1", "later")).await.unwrap();
            client.ping().await.unwrap();
            if kit.signals().iter().any(|signal| signal == "later") {
                return;
            }
        }
    })
    .await;
    let kept: Vec<_> = kit.signals().into_iter().filter(|signal| signal != "later").collect();
    assert!(!kept.is_empty() && kept.len() < 50);
    assert!(kept.iter().enumerate().all(|(n, signal)| signal.starts_with(&format!("{n} "))));
}

#[tokio::test]
async fn after_the_pause_a_sender_of_qos_1_is_closed_so_that_it_sends_again() {
    for version in [Version::V311, Version::V5] {
        let options =
            Options { pause_limit: Duration::from_millis(100), connection_bytes: 3_000, ..Options::default() };
        let kit = Kit::with(options, |_| {});
        let mut client = kit.device(version, "d1").await;
        kit.files.hold_syncs();
        for n in 0..50 {
            client.send(signal("d1", format!("{n} {}", "x".repeat(500))).with_qos(Qos::AtLeastOnce)).await.unwrap();
        }
        client.flush().await.unwrap();
        match (version, within(client.next()).await) {
            (Version::V5, Ok(Event::Disconnected { reason })) => assert_eq!(reason, Reason::QUOTA_EXCEEDED),
            (Version::V311, Err(ClientError::Closed | ClientError::Io(_))) => {}
            (version, other) => panic!("{version} {other:?}"),
        }
        assert_eq!(client.unacknowledged(), 50, "nothing was acknowledged");
        kit.files.release_syncs();
    }
}

#[tokio::test]
async fn keepalive_does_not_fire_while_we_do_not_read() {
    // Silent for longer than one and a half times its keepalive, but most of that because we did not listen: the pause
    // lasts half the keepalive, and the client's time begins anew after it.
    let kit = Kit::with(Options { connection_bytes: 3_000, ..Options::default() }, |_| {});
    let (mut client, _) = kit.connect(ConnectOptions { keep_alive: 2, ..device(Version::V5, "d1") }).await;
    kit.files.hold_syncs();
    for n in 0..50 {
        client.send(signal("d1", format!("{n} {}", "x".repeat(500)))).await.unwrap();
    }
    client.flush().await.unwrap();
    let begun = std::time::Instant::now();
    let end = within(client.next()).await.unwrap();
    assert_eq!(end, Event::Disconnected { reason: Reason::KEEP_ALIVE_TIMEOUT });
    assert!(begun.elapsed() >= Duration::from_millis(3_900), "a pause of 1 s and a silence of 3 s");
    kit.files.release_syncs();
}

#[tokio::test]
async fn a_full_journal_pauses_and_goes_on_when_there_is_room() {
    let kit = Kit::start();
    let mut client = kit.device(Version::V5, "d1").await;
    within(client.publish(signal("d1", "first").with_qos(Qos::AtLeastOnce))).await.unwrap();
    kit.files.set_free(0);
    // What fills the last file comes first.
    let mut sent = 0;
    let block = "x".repeat(100_000);
    let stuck = tokio::time::timeout(Duration::from_secs(2), async {
        loop {
            client.publish(signal("d1", &block).with_qos(Qos::AtLeastOnce)).await?;
            sent += 1;
        }
    })
    .await;
    if let Ok(Err::<(), _>(error)) = stuck {
        assert!(matches!(error, ClientError::NotTaken(_)), "{error}");
    }
    kit.files.set_free(1 << 40);
    let mut again = kit.device(Version::V5, "d2").await;
    within(async {
        while again.publish(signal("d2", "room").with_qos(Qos::AtLeastOnce)).await.is_err() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    assert!(kit.signals().len() >= sent + 2);
}

/// Says of one device alone that it must wait.
struct Slow {
    device: tokio::sync::watch::Sender<Option<String>>,
}

impl Admission for Slow {
    fn may_publish(&self, device: &DeviceId) -> bool {
        self.device.borrow().as_deref() != Some(device.as_str())
    }

    fn admitted<'a>(&'a self, device: &'a DeviceId) -> BoxFuture<'a, ()> {
        let mut slow = self.device.subscribe();
        Box::pin(async move {
            slow.wait_for(|slow| slow.as_deref() != Some(device.as_str())).await.unwrap();
        })
    }
}

#[tokio::test]
async fn a_device_of_which_too_much_waits_is_not_read_while_others_are_and_loses_nothing() {
    let kit = Kit::start();
    let slow = Arc::new(Slow { device: tokio::sync::watch::Sender::new(Some("d1".to_owned())) });
    assert!(kit.shared.ask_for_admission(slow.clone()));
    let mut waits = kit.device(Version::V5, "d1").await;
    let mut other = kit.device(Version::V5, "d2").await;
    for n in 0..20 {
        waits.send(signal("d1", format!("d1 {n}")).with_qos(Qos::AtLeastOnce)).await.unwrap();
    }
    waits.flush().await.unwrap();
    for n in 0..20 {
        within(other.publish(signal("d2", format!("d2 {n}")).with_qos(Qos::AtLeastOnce))).await.unwrap();
    }
    assert!(kit.signals().iter().all(|signal| signal.starts_with("d2")), "nothing of the slow one was taken");
    slow.device.send_replace(None);
    for _ in 0..20 {
        acknowledgement(&mut waits).await;
    }
    let own: Vec<_> = kit.signals().into_iter().filter(|signal| signal.starts_with("d1")).collect();
    assert_eq!(own, (0..20).map(|n| format!("d1 {n}")).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_device_that_must_wait_for_too_long_is_closed_or_dropped_with_the_reason() {
    let options = Options { pause_limit: Duration::from_millis(100), ..Options::default() };
    let kit = Kit::with(options, |_| {});
    let slow = Arc::new(Slow { device: tokio::sync::watch::Sender::new(Some("d1".to_owned())) });
    assert!(kit.shared.ask_for_admission(slow.clone()));
    let mut client = kit.device(Version::V5, "d1").await;
    client.send(signal("d1", "dropped")).await.unwrap();
    client.flush().await.unwrap();
    // Answered only when reading goes on.
    within(client.ping()).await.unwrap();
    assert_eq!(kit.dropped(), [(DropReason::BacklogFull, 1, Some(of_device("d1")))]);
    client.send(signal("d1", "closed").with_qos(Qos::AtLeastOnce)).await.unwrap();
    client.flush().await.unwrap();
    assert_eq!(within(client.next()).await.unwrap(), Event::Disconnected { reason: Reason::QUOTA_EXCEEDED });
    assert!(kit.signals().is_empty());
}
