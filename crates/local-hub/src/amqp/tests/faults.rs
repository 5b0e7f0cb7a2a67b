//! What goes wrong on demand, as devices meet it over AMQP.

use hubward_amqp::connection::{Event, LinkRef};
use hubward_amqp::message::Message;
use hubward_amqp::performative::Outcome;
use serde_json::{Value as Json, json};

use crate::testkit::{Kit, Peer};

fn fault(kit: &Kit, spec: Json) {
    kit.state().faults.add(serde_json::from_value(spec).unwrap());
}

async fn attached(kit: &Kit, ids: &[&str]) -> (Peer, Vec<LinkRef>) {
    let mut peer = Peer::open(kit).await;
    let mut links = Vec::new();
    for id in ids {
        assert_eq!(peer.put_token(&kit.device_token(id)).await, 200);
        links.push(peer.telemetry(id).await.unwrap());
    }
    (peer, links)
}

async fn stored(kit: &Kit) -> usize {
    kit.hub.events().await.unwrap().len()
}

fn condition(outcome: Outcome) -> String {
    match outcome {
        Outcome::Rejected(Some(error)) => error.condition.to_string(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_delayed_acknowledgement_comes_when_its_time_is_there_and_holds_no_other_device() {
    let kit = Kit::start().await;
    kit.devices(&["d1", "d2"]).await;
    let (mut peer, links) = attached(&kit, &["d1", "d2"]).await;
    fault(&kit, json!({"fault": "delay", "ms": 3_000_000, "device": "d1"}));
    peer.send(links[0], &Message::data("late"));
    for _ in 0..3 {
        assert_eq!(peer.send_for_outcome(links[1], &Message::data("x")).await, Outcome::Accepted);
    }
    let answered = |event: &Event| matches!(event, Event::Settled { link, .. } if *link == links[0]);
    assert!(!peer.has_come(&kit.device_token("d1"), answered).await);
    assert_eq!(stored(&kit).await, 4, "it is stored all the same");
    kit.hub.clock().advance(std::time::Duration::from_secs(3000));
    assert_eq!(peer.outcome(links[0]).await, Outcome::Accepted);
}

#[tokio::test]
async fn what_is_never_acknowledged_is_stored() {
    let kit = Kit::start().await;
    kit.devices(&["d1"]).await;
    let (mut peer, links) = attached(&kit, &["d1"]).await;
    fault(&kit, json!({"fault": "no-disposition", "count": 1}));
    peer.send(links[0], &Message::data("first"));
    assert_eq!(peer.send_for_outcome(links[0], &Message::data("second")).await, Outcome::Accepted);
    let answered = |event: &Event| matches!(event, Event::Settled { .. });
    assert!(!peer.has_come(&kit.device_token("d1"), answered).await, "only the second was answered");
    assert_eq!(stored(&kit).await, 2);
}

#[tokio::test]
async fn a_dropped_connection_has_stored_its_transfer_or_lost_it() {
    for (lost, left) in [(false, 1), (true, 0)] {
        let kit = Kit::start().await;
        kit.devices(&["d1"]).await;
        let (mut peer, links) = attached(&kit, &["d1"]).await;
        fault(&kit, json!({"fault": "drop", "after": 1, "lost": lost}));
        peer.send(links[0], &Message::data("x"));
        assert!(!peer.ended().await.iter().any(|event| matches!(event, Event::Closed { .. })), "without a word");
        assert_eq!(stored(&kit).await, left);
    }
}

#[tokio::test]
async fn a_message_that_is_poison_closes_the_connection_each_time_and_others_do_not() {
    let kit = Kit::start().await;
    kit.devices(&["d1"]).await;
    fault(&kit, json!({"fault": "poison", "containing": "bad", "close": true}));
    for tried in 1..=2 {
        let (mut peer, links) = attached(&kit, &["d1"]).await;
        assert_eq!(peer.send_for_outcome(links[0], &Message::data("good")).await, Outcome::Accepted);
        peer.send_batch(links[0], &[Message::data("good"), Message::data("bad")]);
        let ended = peer.ended().await;
        assert!(!ended.iter().any(|event| matches!(event, Event::Closed { .. } | Event::Settled { .. })), "{ended:?}");
        assert_eq!(stored(&kit).await, tried, "nothing of the batch");
        assert_eq!(kit.state().faults.list()[0].hits, tried as u64);
    }
}

#[tokio::test]
async fn refusals_come_as_dispositions_and_the_link_lives_on() {
    let kit = Kit::start().await;
    kit.devices(&["d1"]).await;
    let (mut peer, links) = attached(&kit, &["d1"]).await;
    for (spec, expected) in [
        (json!({"fault": "quota", "count": 1}), "amqp:resource-limit-exceeded"),
        (json!({"fault": "throttle", "count": 1}), "com.microsoft:device-container-throttled"),
        (json!({"fault": "poison", "containing": "bad", "count": 1}), "com.microsoft:argument-error"),
    ] {
        fault(&kit, spec);
        peer.send_batch(links[0], &[Message::data("good"), Message::data("bad")]);
        assert_eq!(condition(peer.outcome(links[0]).await), expected);
        assert_eq!(stored(&kit).await, 0, "{expected}: the whole batch is refused");
    }
    assert_eq!(peer.send_for_outcome(links[0], &Message::data("x")).await, Outcome::Accepted);
}

#[tokio::test]
async fn a_stolen_link_is_detached_and_a_busy_hub_takes_none() {
    let kit = Kit::start().await;
    kit.devices(&["d1"]).await;
    fault(&kit, json!({"fault": "link-stolen", "device": "d1", "count": 1}));
    let mut peer = Peer::open(&kit).await;
    assert_eq!(peer.put_token(&kit.device_token("d1")).await, 200);
    let link = peer.sender("/devices/d1/messages/events").await.unwrap();
    assert_eq!(peer.detached(link).await, "amqp:link:stolen");
    fault(&kit, json!({"fault": "outage", "as": "error", "count": 1}));
    let refused = peer.sender("/devices/d1/messages/events").await.unwrap_err();
    assert_eq!(&*refused.condition, "amqp:link:detach-forced");
    peer.telemetry("d1").await.unwrap();
}
