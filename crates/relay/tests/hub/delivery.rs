use std::collections::HashMap;

use bytes::Bytes;
use futures_util::future::join_all;
use hubward_model::IntegrationState;
use hubward_relay::DeliveryState;

use crate::kit::{Kit, PATIENCE};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn signals_arrive_as_their_device_byte_for_byte_in_order_with_their_properties() {
    let kit = Kit::new(3).await;
    let integration = kit.integrate().await;
    let every_byte: Vec<u8> = (0..=255).collect();
    for device in &kit.devices {
        for n in 0..20u8 {
            let mut payload = every_byte.clone();
            payload.push(n);
            kit.publish(device, payload).await;
        }
        kit.publish(device, Bytes::new()).await;
        kit.publish(device, vec![9; 200 << 10]).await;
    }
    kit.until_arrived(66).await;
    // The hub's last words come after the signals are there.
    assert_eq!(kit.handle().drain(&integration.id, None, PATIENCE).await.unwrap(), []);
    let status = kit.handle().status(&integration.id).await.unwrap();
    assert_eq!(status.state, IntegrationState::Active);
    let arrived = kit.arrived().await;
    for device in status.devices {
        assert_eq!((device.delivered, device.backlog, device.attached), (22, 0, true));
        let events = &arrived[&device.hub_device_id];
        assert_eq!(events.len(), 22);
        for (n, event) in events[..20].iter().enumerate() {
            assert_eq!(event.body[..256], every_byte);
            assert_eq!(usize::from(event.body[256]), n);
            assert_eq!(event.content_type.as_deref(), Some("application/octet-stream"));
            assert!(event.properties.contains(&("topic".to_owned(), "Temp".to_owned())), "{:?}", event.properties);
            assert!(event.message_id.as_deref().unwrap().starts_with(kit.journal.id().as_str()));
        }
        assert!(events[20].body.is_empty() && events[21].body.len() == 200 << 10);
    }
    kit.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stopped_and_started_again_nothing_is_repeated_and_killed_everything_arrives_in_order() {
    let mut kit = Kit::new(5).await;
    kit.integrate().await;
    let mut expected = 0;
    for round in 0..6 {
        for n in 0..50 {
            let all = kit.devices.iter().map(|device| kit.publish(device, format!("{round:02} {n:03}")));
            join_all(all).await;
        }
        expected += 250;
        match round {
            0..3 => kit.stop().await,
            _ => kit.kill(),
        }
        if round < 3 {
            let ids: Vec<_> = kit.hub.events().await.unwrap().into_iter().map(|event| event.message_id).collect();
            let mut once = ids.clone();
            once.sort();
            once.dedup();
            assert_eq!(ids.len(), once.len(), "an orderly stop led to repeats");
        }
        kit.start().await;
    }
    let all = async {
        loop {
            let mut last: HashMap<String, (usize, Bytes)> = HashMap::new();
            let events = kit.hub.events().await.unwrap();
            for (at, event) in events.iter().enumerate() {
                last.insert(event.message_id.clone().unwrap(), (at, event.body.clone()));
            }
            if last.len() == expected {
                break events;
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    let events = tokio::time::timeout(PATIENCE, all).await.expect("all arrive");
    let mut last: HashMap<(String, Option<String>), usize> = HashMap::new();
    for (at, event) in events.iter().enumerate() {
        last.insert((event.device_id.clone(), event.message_id.clone()), at);
    }
    let mut by_device: HashMap<String, Vec<(usize, Bytes)>> = HashMap::new();
    for ((device, _), at) in last {
        by_device.entry(device).or_default().push((at, events[at].body.clone()));
    }
    assert_eq!(by_device.len(), 5);
    for mut bodies in by_device.into_values() {
        bodies.sort();
        assert!(bodies.is_sorted_by_key(|(_, body)| body.clone()), "{bodies:?}");
        assert_eq!(bodies.len(), 300);
    }
    kit.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_test_message_is_answered_by_the_hub_and_marked() {
    let kit = Kit::new(2).await;
    let integration = kit.integrate().await;
    let results = kit.handle().test(&integration.id, None).await.unwrap();
    assert_eq!(results.len(), 2);
    for result in &results {
        assert!(result.accepted && result.error.is_none() && result.delay_ms.is_some(), "{result:?}");
    }
    let events = kit.hub.events().await.unwrap();
    assert_eq!(events.len(), 2);
    for event in events {
        assert!(event.properties.contains(&("hubward-test".to_owned(), "true".to_owned())));
        assert_eq!(event.content_type.as_deref(), Some("application/json"));
        let body: serde_json::Value = serde_json::from_slice(&event.body).unwrap();
        assert_eq!((&body["hubward"], &body["integration"]), (&"test".into(), &"azure".into()));
    }
    kit.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_became_of_a_signal_is_told_as_event_and_on_request_over_a_restart_too() {
    let mut kit = Kit::new(1).await;
    let integration = kit.integrate().await;
    let mut events = kit.handle().events();
    let good = kit.publish(&kit.devices[0], "good").await;
    let large = kit.publish(&kit.devices[0], vec![0; 262_144]).await;
    let mut told = Vec::new();
    for _ in 0..2 {
        let event = tokio::time::timeout(PATIENCE, events.recv()).await.unwrap().unwrap();
        told.push((event.offset, event.state));
    }
    assert_eq!(told, [(good, DeliveryState::Accepted), (large, DeliveryState::DeadLetter)]);
    kit.handle().pause(&integration.id).await.unwrap();
    let waits = kit.publish(&kit.devices[0], "waits").await;
    let mut records = Vec::new();
    for offset in [good, large, waits] {
        records.push(kit.journal.read_at(offset).await.unwrap().unwrap());
    }
    let deliveries = kit.handle().deliveries(&records).await.unwrap();
    let states: Vec<_> = deliveries.iter().map(|of| of.iter().map(|one| one.state).collect::<Vec<_>>()).collect();
    assert_eq!(states, [[DeliveryState::Accepted], [DeliveryState::DeadLetter], [DeliveryState::Waiting]]);
    kit.stop().await;
    kit.start().await;
    let handle = kit.handle();
    let trace = |offset| handle.trace(&kit.devices[0], offset);
    let answer = trace(good).await.unwrap().unwrap();
    let [delivery] = answer.deliveries.as_slice() else { panic!("{answer:?}") };
    let times = [Some(answer.record.received_at), answer.durable_at, delivery.first_sent_at, delivery.settled_at];
    assert!(times.iter().all(Option::is_some) && times.is_sorted(), "{times:?}");
    assert_eq!((delivery.state, delivery.attempts), (DeliveryState::Accepted, Some(1)));
    let answer = trace(large).await.unwrap().unwrap();
    let delivery = &answer.deliveries[0];
    assert_eq!((delivery.state, delivery.settled_at.is_some()), (DeliveryState::DeadLetter, true));
    let refusal = delivery.last_refusal.as_ref().unwrap();
    assert!(refusal.code == "too_large" && refusal.remedy.contains("deadletter"), "{refusal:?}");
    let delivery = &trace(waits).await.unwrap().unwrap().deliveries[0];
    assert_eq!((delivery.state, delivery.settled_at, delivery.first_sent_at), (DeliveryState::Waiting, None, None));
    assert!(handle.trace(&"other".parse().unwrap(), good).await.unwrap().is_none());
    kit.handle().resume(&integration.id).await.unwrap();
    kit.until_arrived(2).await;
    kit.end().await;
}
