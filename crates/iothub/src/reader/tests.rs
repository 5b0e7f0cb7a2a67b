use hubward_amqp::connection::Settings;
use hubward_amqp::performative::{Attach, Error, condition};
use hubward_amqp::types::{Array, Symbol};
use tokio::net::TcpListener;

use super::*;
use crate::amqp::fake_hub::{FakeHub, Order, PATIENCE, Script, Serve};
use crate::sas::Lifetime;

/// Two partitions: "0" with two hundred events, "1" with one.
fn endpoint(attach: &Attach) -> Serve {
    let address = attach.source.as_ref().and_then(|source| source.address.as_deref()).unwrap_or_default();
    match address {
        MANAGEMENT => Serve::Answers(description),
        "hub1/ConsumerGroups/$Default/Partitions/0" => Serve::Messages((0..200).map(event).collect()),
        "hub1/ConsumerGroups/$Default/Partitions/1" => Serve::Messages(vec![event(1000)]),
        other => panic!("{other}"),
    }
}

fn description(request: &Message) -> Message {
    let property = |name| request.application_property(name).and_then(Value::as_str);
    assert_eq!(property("operation"), Some("READ"));
    assert_eq!(property("type"), Some("com.microsoft:eventhub"));
    assert_eq!(property("name"), Some("hub1"));
    assert!(property("security_token").is_some_and(|token| token.starts_with("SharedAccessSignature ")));
    let mut answer = Reply::new(200, "OK").to_message(request);
    answer.body = Body::Value(Value::Map(vec![
        ("name".into(), "hub1".into()),
        ("partition_count".into(), Value::Int(2)),
        ("partition_ids".into(), Array::strings(["0", "1"]).into()),
    ]));
    answer
}

fn event(n: i64) -> Message {
    let mut message = Message::data(format!("body {n}"));
    message.message_annotations = vec![
        (Symbol::from_static("iothub-connection-device-id"), "dev1".into()),
        (Symbol::from_static("x-opt-sequence-number"), Value::Long(n)),
        (Symbol::from_static("x-opt-offset"), (n * 100).to_string().into()),
    ];
    message
}

fn string(port: u16) -> EventHubsString {
    format!(
        "Endpoint=sb://127.0.0.1:{port}/;SharedAccessKeyName=service;SharedAccessKey=c2VjcmV0;\
         UseDevelopmentEmulator=true;EntityPath=hub1"
    )
    .parse()
    .expect("a string")
}

fn no_tls() -> Arc<ClientConfig> {
    Arc::new(crate::tls::client_config(None).expect("no CA given"))
}

async fn open(script: Script, options: &Options) -> (FakeHub, Result<Reader, ReaderError>) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
    let string = string(listener.local_addr().expect("an address").port());
    let tls = no_tls();
    let accepting = async {
        let (stream, _) = listener.accept().await.expect("a client");
        FakeHub::start(stream, script)
    };
    timeout(PATIENCE, async { tokio::join!(accepting, Reader::open(&string, &tls, options)) }).await.expect("in time")
}

fn script() -> Script {
    Script { serves: Some(endpoint), ..Script::default() }
}

async fn next(reader: &mut Reader) -> Event {
    timeout(PATIENCE, reader.next()).await.expect("in time").expect("an event")
}

#[tokio::test]
async fn all_partitions_are_read_in_order_beyond_the_credit() {
    let options = Options { credit: 10, start: Start::Earliest, ..Options::default() };
    let (hub, reader) = open(script(), &options).await;
    let mut reader = reader.expect("opened");
    assert_eq!(reader.partitions().iter().map(|name| &**name).collect::<Vec<_>>(), ["0", "1"]);
    let mut by_partition: HashMap<String, Vec<i64>> = HashMap::new();
    for _ in 0..201 {
        let event = next(&mut reader).await;
        assert_eq!(event.device_id.as_deref(), Some("dev1"));
        assert_eq!(event.body, format!("body {}", event.sequence_number));
        assert_eq!(event.offset, (event.sequence_number * 100).to_string());
        by_partition.entry(event.partition.to_string()).or_default().push(event.sequence_number);
    }
    assert_eq!(by_partition["0"], (0..200).collect::<Vec<_>>());
    assert_eq!(by_partition["1"], [1000]);
    // The key's text signs, not what it decodes to: that is how the two endpoints differ.
    let seen = hub.seen();
    let (name, token) = &seen.tokens[0];
    assert_eq!(name, "sb://127.0.0.1/hub1");
    let expires = token.split("se=").nth(1).and_then(|rest| rest.split('&').next()).expect("an end");
    let key = crate::connection_string::SharedAccessKey::from_base64("c2VjcmV0").expect("base64");
    let expires = expires.parse().expect("a number");
    let expected = crate::sas::sign(name, &key, expires, Some("service"), crate::sas::Style::EventHubs);
    assert_eq!(token, expected.expose());
    reader.close().await;
}

#[tokio::test]
async fn reading_begins_where_each_partition_was_told_to() {
    let options = Options {
        partitions: Some(vec!["1".into()]),
        starts: HashMap::from([("1".into(), Start::After("77".into()))]),
        ..Options::default()
    };
    let (hub, reader) = open(script(), &options).await;
    next(&mut reader.expect("opened")).await;
    let attach = hub.seen().attached.pop().expect("a link");
    let filter = attach.source.expect("a source").filter;
    let [(name, Value::Described(filter))] = &filter[..] else { panic!("{filter:?}") };
    assert_eq!(name, "apache.org:selector-filter:string");
    assert_eq!(filter.value.as_str(), Some("amqp.annotation.x-opt-offset > '77'"));
}

#[tokio::test]
async fn a_partition_that_does_not_exist_is_named() {
    let options = Options { partitions: Some(vec!["7".into()]), ..Options::default() };
    let (_hub, reader) = open(script(), &options).await;
    assert_eq!(reader.expect_err("no such partition"), ReaderError::NoPartition("7".into()));
}

#[tokio::test]
async fn a_refused_partition_says_why() {
    let refuse = vec![("Partitions/0", Error::new(condition::UNAUTHORIZED_ACCESS, "no Listen"))];
    let (_hub, reader) = open(Script { refuse, ..script() }, &Options::default()).await;
    let error = reader.expect_err("refused");
    let ReaderError::Refused { what, refusal } = &error else { panic!("{error:?}") };
    assert_eq!((what.as_str(), refusal.description.as_str()), ("partition 0", "no Listen"));
}

#[tokio::test]
async fn a_partition_taken_over_by_another_reader_is_told() {
    let (hub, reader) = open(script(), &Options::default()).await;
    let mut reader = reader.expect("opened");
    for _ in 0..201 {
        next(&mut reader).await;
    }
    let stolen = Error::new(condition::LINK_STOLEN, "another reader");
    hub.order(Order::Detach("hub1/ConsumerGroups/$Default/Partitions/1", stolen));
    let error = timeout(PATIENCE, reader.next()).await.expect("in time").expect_err("stolen");
    assert!(matches!(&error, ReaderError::Refused { refusal, .. } if refusal.condition == "amqp:link:stolen"));
}

#[tokio::test]
async fn the_token_is_renewed_and_heartbeats_are_sent_while_nothing_comes() {
    let options = Options {
        lifetime: Lifetime { valid_for: Duration::from_secs(2), renew_before: Duration::from_secs(1) },
        ..Options::default()
    };
    let settings = Settings { idle_time_out: Some(Duration::from_millis(200)), ..Settings::default() };
    let (mut hub, reader) = open(Script { settings, ..script() }, &options).await;
    let mut reader = reader.expect("opened");
    for _ in 0..201 {
        next(&mut reader).await;
    }
    tokio::select! {
        event = reader.next() => panic!("{event:?}"),
        seen = hub.saw(|seen| seen.tokens.len() >= 3) => assert_eq!(seen.tokens.len(), 3),
    }
}

#[tokio::test]
async fn the_end_of_the_connection_ends_the_wait() {
    let (hub, reader) = open(script(), &Options::default()).await;
    let mut reader = reader.expect("opened");
    for _ in 0..201 {
        next(&mut reader).await;
    }
    drop(hub);
    let error = timeout(PATIENCE, reader.next()).await.expect("in time").expect_err("hung up");
    assert!(matches!(error, ReaderError::Lost(_)), "{error:?}");
}

#[tokio::test]
async fn a_string_without_entity_is_refused_before_anything_is_opened() {
    let mut string = string(1);
    string.entity_path = None;
    let error = Reader::open(&string, &no_tls(), &Options::default()).await.expect_err("no entity");
    assert_eq!(error, ReaderError::NoEntity);
}
