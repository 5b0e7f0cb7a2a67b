//! How connections begin, are taken over, and end.

use std::time::Duration;

use hubward_model::Kind;
use hubward_mqtt::client::{ConnectOptions, Event};
use hubward_mqtt::protocol::{Connect, Packet, Publish, Reason, Will};
use hubward_mqtt::{Qos, Version};
use tokio::io::AsyncWriteExt;

use super::kit::*;
use crate::{BrokerEvent, Options, Owner};

fn frame(number: u32) -> Vec<u8> {
    let mut frame = vec![0x0e, 5, 1];
    frame.extend_from_slice(&number.to_be_bytes());
    frame.push(0);
    frame
}

fn number(payload: &[u8]) -> u32 {
    u32::from_be_bytes(payload[3..7].try_into().unwrap())
}

/// What arrived of a board's frames.
fn arrived(kit: &Kit) -> Vec<u32> {
    let signals = kit.records().into_iter().filter(|record| record.kind == Kind::Signal);
    signals.map(|record| number(&record.message.payload)).collect()
}

#[tokio::test]
async fn a_clean_stop_commits_and_acknowledges_what_was_sent() {
    let mut kit = Kit::with(Options::default(), |journal| {
        journal.commit_delay = Some(Duration::from_millis(50));
    });
    let mut clients = Vec::new();
    for id in ["d1", "d2", "d3"] {
        let mut client = kit.device(Version::V5, id).await;
        for n in 0..200 {
            client.send(signal(id, n).with_qos(Qos::AtLeastOnce)).await.unwrap();
        }
        client.flush().await.unwrap();
        clients.push(client);
    }
    kit.stop().await;
    assert_eq!(kit.signals().len(), 600);
    for mut client in clients {
        for _ in 0..200 {
            assert_eq!(acknowledgement(&mut client).await.1, 0);
        }
        let event = within(client.next()).await.unwrap();
        assert_eq!(event, Event::Disconnected { reason: Reason::SERVER_SHUTTING_DOWN });
    }
    assert!(tokio::net::TcpStream::connect(kit.address).await.is_err(), "nothing listens any more");
}

#[tokio::test]
async fn a_stop_commits_everything_a_board_had_sent_before_its_reset() {
    let mut kit = Kit::with(Options::default(), |journal| {
        journal.commit_delay = Some(Duration::from_millis(100));
    });
    let mut board = kit.board(TOKEN).await;
    for n in 0..1_000 {
        board.send(Publish::new(format!("u{TOKEN}"), frame(n))).await.unwrap();
    }
    board.flush().await.unwrap();
    kit.stop().await;
    assert_eq!(arrived(&kit), (0..1_000).collect::<Vec<_>>());
    assert!(end_of(&mut board.into_inner()).await, "a board is closed by a reset");
}

#[tokio::test]
async fn a_board_that_never_stops_sending_loses_nothing_before_its_reset() {
    let mut kit = Kit::with(Options::default(), |journal| {
        journal.commit_delay = Some(Duration::from_millis(50));
    });
    let mut board = kit.board(TOKEN).await;
    board.publish(Publish::new(format!("u{TOKEN}"), frame(0))).await.unwrap();
    let sender = tokio::spawn(async move {
        // Until the reset: how many were written is what may arrive, and all but the last few must.
        let mut written = 1;
        let mut in_time = 1;
        let mut sent_at = std::collections::VecDeque::new();
        while board.publish(Publish::new(format!("u{TOKEN}"), frame(written))).await.is_ok() {
            sent_at.push_back((tokio::time::Instant::now(), written));
            written += 1;
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let now = tokio::time::Instant::now();
        for (at, n) in sent_at {
            if now - at >= Duration::from_millis(100) {
                in_time = n;
            }
        }
        (in_time, written)
    });
    kit.wait_for_signals(1).await;
    kit.stop().await;
    let (in_time, written) = within(sender).await.unwrap();
    let arrived = arrived(&kit);
    let count = u32::try_from(arrived.len()).unwrap();
    assert_eq!(arrived, (0..count).collect::<Vec<_>>(), "an unbroken run");
    assert!(count > in_time && count <= written, "{in_time} {count} {written}");
}

#[tokio::test]
async fn a_second_connection_of_a_client_takes_the_place_of_the_first_in_order() {
    let kit = Kit::with(Options::default(), |journal| {
        journal.commit_delay = Some(Duration::from_millis(50));
    });
    let mut first = kit.board(TOKEN).await;
    for n in 0..100 {
        first.send(Publish::new(format!("u{TOKEN}"), frame(n))).await.unwrap();
    }
    first.flush().await.unwrap();
    let mut second = kit.board(TOKEN).await;
    for n in 100..200 {
        second.send(Publish::new(format!("u{TOKEN}"), frame(n))).await.unwrap();
    }
    within(second.ping()).await.unwrap();
    assert!(end_of(&mut first.into_inner()).await, "the first one is reset");
    kit.wait_for_signals(200).await;
    assert_eq!(arrived(&kit), (0..200).collect::<Vec<_>>());
    assert!(kit.handle.connected(&"board".parse().unwrap()));
}

#[tokio::test]
async fn a_crowd_of_connections_of_one_client_ends_with_the_last_one() {
    let kit = Kit::start();
    let mut last = None;
    for _ in 0..20 {
        let (client, _) = kit.connect(device(Version::V5, "d1")).await;
        last = Some(client);
    }
    let mut last = last.unwrap();
    within(last.publish(signal("d1", "x").with_qos(Qos::AtLeastOnce))).await.unwrap();
    kit.wait_for_connections(1).await;
    assert!(kit.handle.connected(&"d1".parse().unwrap()));
}

#[tokio::test]
async fn a_taken_over_5_0_client_is_told_so() {
    let kit = Kit::start();
    let mut first = kit.device(Version::V5, "d1").await;
    let mut second = kit.device(Version::V5, "d1").await;
    let event = within(first.next()).await.unwrap();
    assert_eq!(event, Event::Disconnected { reason: Reason::SESSION_TAKEN_OVER });
    within(second.ping()).await.unwrap();
}

#[tokio::test]
async fn revoked_credentials_end_the_connection_and_its_session() {
    let kit = Kit::start();
    let options = || ConnectOptions { clean_start: false, session_expiry: Some(60), ..device(Version::V5, "d1") };
    let (mut client, _) = kit.connect(options()).await;
    within(client.subscribe(&[("devices/d1/commands/#", Qos::AtLeastOnce)])).await.unwrap();
    client.send(signal("d1", "last words")).await.unwrap();
    client.flush().await.unwrap();
    // Another owner is not concerned.
    let mut other = kit.device(Version::V5, "d2").await;
    kit.handle.disconnect_owner(&Owner::Device("d1".parse().unwrap()));
    let event = within(client.next()).await.unwrap();
    assert_eq!(event, Event::Disconnected { reason: Reason::ADMINISTRATIVE_ACTION });
    kit.wait_for_connections(1).await;
    assert_eq!(kit.signals(), ["last words"]);
    assert!(kit.shared.routing().tree.is_empty());
    assert!(!kit.connect(options()).await.1.session_present);
    within(other.ping()).await.unwrap();
}

#[tokio::test]
async fn a_will_is_published_as_its_owner_when_the_connection_is_lost_and_only_then() {
    let kit = Kit::start();
    for version in [Version::V311, Version::V5] {
        let will = Will {
            topic: "devices/d1/signals/gone".into(),
            payload: "will".into(),
            qos: Qos::AtLeastOnce,
            ..Will::default()
        };
        let options = || ConnectOptions { will: Some(will.clone()), ..device(version, "d1") };
        let before = kit.signals().len();
        kit.connect(options()).await.0.disconnect().await.unwrap();
        kit.wait_for_connections(0).await;
        assert_eq!(kit.signals().len(), before, "it said goodbye");
        drop(kit.connect(options()).await.0.into_inner());
        kit.wait_for_signals(before + 1).await;
        kit.wait_for_connections(0).await;
        let record = kit.records().pop().unwrap();
        assert_eq!((record.kind, record.device.as_ref().unwrap().as_str()), (Kind::Signal, "d1"));
        assert_eq!(record.message.topic, "devices/d1/signals/gone");
    }
}

#[tokio::test]
async fn a_delayed_will_is_void_when_the_client_is_back_in_time() {
    let mut kit = Kit::start();
    let options = |delay, payload: &'static str| ConnectOptions {
        clean_start: false,
        session_expiry: Some(600),
        will: Some(Will { topic: "devices/d1/signals/gone".into(), payload: payload.into(), delay, ..Will::default() }),
        ..device(Version::V5, "d1")
    };
    drop(kit.connect(options(300, "void")).await.0.into_inner());
    kit.wait_for_connections(0).await;
    let back = kit.connect(options(1, "due")).await.0;
    drop(back.into_inner());
    assert_eq!(kit.wait_for_signals(1).await, ["due"]);
    // What still waits at a stop is published then.
    drop(kit.connect(options(300, "at the stop")).await.0.into_inner());
    kit.wait_for_connections(0).await;
    kit.stop().await;
    assert_eq!(kit.signals(), ["due", "at the stop"]);
}

#[tokio::test]
async fn a_will_of_revoked_credentials_is_void() {
    let mut kit = Kit::start();
    let will =
        |delay| Will { topic: "devices/d1/signals/gone".into(), payload: "will".into(), delay, ..Will::default() };
    let options = |delay| ConnectOptions {
        session_expiry: Some(600),
        will: Some(will(delay)),
        ..ConnectOptions { client_id: delay.to_string(), ..device(Version::V5, "d1") }
    };
    drop(kit.connect(options(300)).await.0.into_inner());
    kit.wait_for_connections(0).await;
    let mut connected = kit.connect(options(0)).await.0;
    kit.handle.disconnect_owner(&Owner::Device("d1".parse().unwrap()));
    within(connected.next()).await.unwrap();
    kit.stop().await;
    assert!(kit.signals().is_empty());
}

#[tokio::test]
async fn a_stop_is_no_reason_for_wills() {
    let mut kit = Kit::start();
    let will = Will { topic: "devices/d1/signals/gone".into(), payload: "will".into(), ..Will::default() };
    let _client = kit.connect(ConnectOptions { will: Some(will), ..device(Version::V311, "d1") }).await;
    kit.stop().await;
    assert!(kit.signals().is_empty());
}

#[tokio::test]
async fn keepalive_ends_a_silent_connection_and_never_one_without_it() {
    let kit = Kit::start();
    let mut board = kit.board(TOKEN).await;
    let (mut client, _) = kit.connect(ConnectOptions { keep_alive: 1, ..device(Version::V5, "d1") }).await;
    let begun = std::time::Instant::now();
    assert_eq!(within(client.next()).await.unwrap(), Event::Disconnected { reason: Reason::KEEP_ALIVE_TIMEOUT });
    assert!(begun.elapsed() >= Duration::from_millis(1_400), "one and a half times the keepalive");
    within(board.ping()).await.unwrap();
}

#[tokio::test]
async fn idle_connections_hold_no_read_buffer() {
    let kit = Kit::start();
    let mut clients = Vec::new();
    for n in 0..200 {
        let mut client = kit.device(Version::V311, &format!("n{n}")).await;
        within(client.publish(signal(&format!("n{n}"), n).with_qos(Qos::AtLeastOnce))).await.unwrap();
        clients.push(client);
    }
    until(|| kit.shared.pool.lent() == 0).await;
    assert_eq!(kit.handle.connections(), 200);
    // One in the middle of a packet holds what it has sent, and no buffer of the pool.
    let mut stream = clients.pop().unwrap().into_inner();
    stream.write_all(&[0x30, 0xff, 0xff, 0x03, 0, 22]).await.unwrap();
    let mut client = clients.pop().unwrap();
    within(client.publish(signal("n198", "x").with_qos(Qos::AtLeastOnce))).await.unwrap();
    until(|| kit.shared.pool.lent() == 0).await;
}

#[tokio::test]
async fn a_packet_in_small_pieces_is_put_together() {
    let kit = Kit::start();
    let mut raw = kit.raw(Version::V311).await;
    let connect = Connect {
        clean_start: true,
        client_id: "c".into(),
        username: Some("d1".into()),
        password: Some("secret-d1".into()),
        ..Connect::default()
    };
    raw.send(&Packet::Connect(Box::new(connect))).await.unwrap();
    within(raw.receive()).await.unwrap();
    let mut stream = raw.into_inner();
    let topic = "devices/d1/signals/t";
    let payload = vec![b'z'; 5_000];
    let remaining = 2 + topic.len() + payload.len();
    let byte = |number: usize| u8::try_from(number).unwrap();
    let mut bytes = vec![0x30, byte(remaining & 0x7f | 0x80), byte(remaining >> 7), 0, byte(topic.len())];
    bytes.extend_from_slice(topic.as_bytes());
    bytes.extend_from_slice(&payload);
    for piece in bytes.repeat(3).chunks(701) {
        stream.write_all(piece).await.unwrap();
        stream.flush().await.unwrap();
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    let signals = kit.wait_for_signals(3).await;
    assert!(signals.iter().all(|signal| signal.as_bytes() == payload));
}

#[tokio::test]
async fn a_packet_larger_than_announced_ends_the_connection_with_the_reason() {
    let kit = Kit::with(Options { max_packet_bytes: 10_000, ..Options::default() }, |_| {});
    let (mut client, connack) = kit.connect(device(Version::V5, "d1")).await;
    assert_eq!(connack.maximum_packet_size, Some(10_000));
    client.publish(signal("d1", "x".repeat(20_000))).await.unwrap();
    assert_eq!(within(client.next()).await.unwrap(), Event::Disconnected { reason: Reason::PACKET_TOO_LARGE });
}

#[tokio::test]
async fn events_tell_who_came_and_went_and_why() {
    let kit = Kit::start();
    let mut events = kit.handle.subscribe_events();
    let client = kit.device(Version::V311, "d1").await;
    client.disconnect().await.unwrap();
    let owner = Owner::Device("d1".parse().unwrap());
    let (number, from) = match within(events.recv()).await.unwrap() {
        BrokerEvent::Connected { owner: who, connection, peer, version, keep_alive } => {
            assert_eq!((who, version, keep_alive), (owner.clone(), Version::V311, 0));
            (connection, peer)
        }
        other => panic!("{other:?}"),
    };
    match within(events.recv()).await.unwrap() {
        BrokerEvent::Disconnected { owner: who, connection, peer, reason } => {
            assert_eq!((who, reason, connection, peer), (owner, "disconnected", number, from));
        }
        other => panic!("{other:?}"),
    }
    assert!(!kit.handle.connected(&"d1".parse().unwrap()));
    assert!(kit.handle.last_seen(&"d1".parse().unwrap()).is_some());
}

#[tokio::test]
async fn an_operator_closes_connections_and_the_session_stays() {
    let kit = Kit::start();
    let mut events = kit.handle.subscribe_events();
    let keeping = ConnectOptions { clean_start: false, session_expiry: Some(300), ..device(Version::V5, "d1") };
    let (mut client, _) = kit.connect(keeping.clone()).await;
    let owner = Owner::Device("d1".parse().unwrap());
    assert_eq!(kit.handle.connected_devices(), 1);
    assert_eq!(kit.handle.close_owner(&owner), 1);
    assert_eq!(within(client.next()).await.unwrap(), Event::Disconnected { reason: Reason::ADMINISTRATIVE_ACTION });
    within(events.recv()).await.unwrap();
    match within(events.recv()).await.unwrap() {
        BrokerEvent::Disconnected { reason, .. } => assert_eq!(reason, "closed by an operator"),
        other => panic!("{other:?}"),
    }
    assert_eq!((kit.handle.connected_devices(), kit.handle.close_owner(&owner)), (0, 0));
    let (_again, connack) = kit.connect(keeping).await;
    assert!(connack.session_present);
}

#[tokio::test]
async fn an_idle_connections_task_is_small() {
    let kit = Kit::start();
    let stream = kit.stream().await;
    let peer = stream.local_addr().unwrap();
    let task = crate::connection::serve(&kit.shared, stream, peer);
    let size = std::mem::size_of_val(&task);
    assert!(size <= 1_536, "{size} bytes");
}
