//! Direct methods over AMQP (reference, 3.8).

use std::time::Duration;

use bytes::Bytes;
use hubward_amqp::message::{Body, Message};
use hubward_amqp::performative::Outcome;
use hubward_amqp::types::Value;

use crate::devices::{MethodAnswer, MethodFailed};
use crate::testkit::{Kit, Peer};

const PATIENCE: Duration = Duration::from_secs(20);

async fn device(kit: &Kit, id: &str) -> Peer {
    let mut peer = Peer::open(kit).await;
    assert_eq!(peer.put_token(&kit.device_token(id)).await, 200);
    peer
}

fn answer(to: Value, status: Value, body: &str) -> Message {
    let mut answer = Message::data(body.to_owned());
    answer.properties.correlation_id = Some(to);
    answer.application_properties = vec![("IoThub-status".into(), status)];
    answer
}

#[tokio::test]
async fn a_call_reaches_the_device_and_its_answer_the_caller() {
    let kit = Kit::start().await;
    kit.devices(&["d1"]).await;
    let mut peer = device(&kit, "d1").await;
    let (answers, calls) = peer.pair("/devices/d1/methods/devicebound", "methods:1").await;
    // A number, a number as JavaScript has it, and a text: SDKs send all three.
    for status in [Value::Int(201), Value::Double(201.0), Value::String("201".into())] {
        let payload = Bytes::from_static(br#"{"delay":1}"#);
        let call = kit.state().devices.invoke("d1", "reboot", payload, Duration::ZERO, PATIENCE);
        let serve = async {
            let call = peer.delivery(calls).await;
            assert_eq!(call.application_property("IoThub-methodname").and_then(Value::as_str), Some("reboot"));
            assert_eq!(call.body, Body::Data(r#"{"delay":1}"#.into()));
            let id = call.properties.correlation_id.unwrap();
            assert!(matches!(id, Value::Uuid(_)), "{id:?}");
            let outcome = peer.send_for_outcome(answers, &answer(id, status, r#""done""#)).await;
            assert_eq!(outcome, Outcome::Accepted);
        };
        let (answered, ()) = tokio::join!(call, serve);
        assert_eq!(answered, Ok(MethodAnswer { status: 201, payload: Bytes::from_static(br#""done""#) }));
    }
}

#[tokio::test]
async fn a_device_without_a_link_for_methods_is_not_online() {
    let kit = Kit::start().await;
    kit.devices(&["d1"]).await;
    let mut peer = device(&kit, "d1").await;
    peer.telemetry("d1").await.unwrap();
    let call = || kit.state().devices.invoke("d1", "reboot", Bytes::new(), Duration::ZERO, PATIENCE);
    assert_eq!(call().await, Err(MethodFailed::NotOnline));
    let (answers, calls) = peer.pair("/devices/d1/methods/devicebound", "methods:1").await;
    for link in [calls, answers] {
        peer.connection.detach(link, None);
        peer.detached(link).await;
    }
    assert_eq!(call().await, Err(MethodFailed::NotOnline));
}

#[tokio::test]
async fn what_is_no_answer_is_rejected() {
    let kit = Kit::start().await;
    kit.devices(&["d1"]).await;
    let mut peer = device(&kit, "d1").await;
    let (answers, _) = peer.pair("/devices/d1/methods/devicebound", "methods:1").await;
    let id = || Value::Uuid([7; 16]);
    for message in [
        answer(Value::String("not a uuid".into()), Value::Int(200), "1"),
        answer(id(), Value::String("fine".into()), "1"),
        answer(id(), Value::Null, "1"),
        Message::data("1"),
        answer(id(), Value::Int(200), &"1".repeat(crate::devices::MAX_METHOD_PAYLOAD + 1)),
    ] {
        assert!(matches!(peer.send_for_outcome(answers, &message).await, Outcome::Rejected(Some(_))));
    }
    let late = answer(id(), Value::Int(200), "1");
    assert_eq!(peer.send_for_outcome(answers, &late).await, Outcome::Accepted, "an answer too late harms nobody");
}
