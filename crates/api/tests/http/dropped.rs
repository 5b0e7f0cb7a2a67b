//! What the broker dropped.

use std::io::Write as _;
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{BoxFuture, FutureExt};
use hubward_api::changes::Watch;
use hubward_api::router;
use hubward_broker::{Authenticator, Broker, Grant, Listener, Login, Options, Refusal};
use hubward_model::{DeviceId, Draft, Kind, Message, Timestamp};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::changes::devices;
use crate::kit::Rig;

/// Lets everybody in as the app with this token, which may publish nothing.
struct OneApp(String);

impl Authenticator for OneApp {
    fn authenticate(&self, _: Login) -> BoxFuture<'_, Result<Grant, Refusal>> {
        async { Ok(Grant::app(self.0.clone(), Vec::new(), Vec::new())) }.boxed()
    }

    fn device_of_token(&self, _: &str) -> Option<DeviceId> {
        None
    }
}

/// Asks until there are so many reasons.
async fn asked(rig: &Rig, reasons: usize) -> Value {
    let asking = async {
        loop {
            let answer = rig.get("/api/v1/mqtt/dropped").await.json();
            if answer["items"].as_array().unwrap().len() == reasons {
                return answer;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), asking).await.unwrap()
}

#[tokio::test]
async fn what_was_dropped_is_shown_by_reason_with_whose_and_what_to_do_and_told_to_open_pages() {
    let mut rig = Rig::new().await;
    let token = rig.services.registry.create_token("pump room", &["read".to_owned()], None).await.unwrap();
    let options = Options { max_retained: 0, ..Options::default() };
    let mut broker = Broker::new(options, rig.services.journal.clone(), Arc::new(OneApp(token.value.id.clone())));
    let address = broker.listen(std::net::TcpListener::bind("127.0.0.1:0").unwrap(), Listener::Tcp).unwrap();
    rig.services.broker = broker.handle();
    rig.router = router(rig.services.clone());
    let stop = CancellationToken::new();
    let running = tokio::spawn(broker.run(stop.clone()));
    assert_eq!(asked(&rig, 0).await, json!({ "since": "1970-01-01T00:00:00.000Z", "items": [] }));
    let mut watch = Watch::default();
    watch.look(&rig.services).await;
    assert_eq!(watch.look(&rig.services).await, []);

    // An app says something on a topic that is not its own: CONNECT (3.1.1, client id "a"), PUBLISH (QoS 0, topic "x").
    let mut app = TcpStream::connect(address).unwrap();
    app.write_all(b"\x10\x0d\x00\x04MQTT\x04\x02\x00\x00\x00\x01a\x30\x03\x00\x01x").unwrap();
    let answer = asked(&rig, 1).await;
    let item = &answer["items"][0];
    assert_eq!((&item["reason"], &item["count"]), (&json!("not_allowed"), &json!(1)));
    assert_eq!(item["last_owner"], json!({ "device": null, "device_id": null, "app": "pump room" }));
    let told = watch.look(&rig.services).await;
    assert!(told.iter().any(|change| change.what == "dropped"), "{told:?}");

    // A device's retained message finds no room.
    let board = devices(&rig, "board", 1).await.remove(0);
    let draft = Draft {
        kind: Kind::Signal,
        received_at: Timestamp::now(),
        message: Message { topic: "t".to_owned(), payload: "x".into(), retain: true, ..Message::default() },
        device: Some(board.clone()),
        only_for: None,
        note: Default::default(),
    };
    rig.services.journal.append_durable(draft).await.unwrap();
    let answer = asked(&rig, 2).await;
    let item = &answer["items"][1];
    assert_eq!(item["reason"], "retained_full");
    assert_eq!(item["last_owner"], json!({ "device": "board-00000", "device_id": board, "app": null }));
    for item in answer["items"].as_array().unwrap() {
        assert!(item["last_at"].as_str().unwrap() > "2020", "{item}");
        assert!(
            item["what"].as_str().unwrap().contains(' ') && item["remedy"].as_str().unwrap().contains(' '),
            "{item}"
        );
    }

    // Who is gone is shown by the id.
    rig.services.registry.remove_device(&board).await.unwrap();
    rig.services.registry.revoke_token("pump room").await.unwrap();
    let answer = asked(&rig, 2).await;
    assert_eq!(answer["items"][0]["last_owner"]["app"], json!(token.value.id));
    assert_eq!(answer["items"][1]["last_owner"]["device"], json!(board));
    drop(app);
    stop.cancel();
    running.await.unwrap().unwrap();
    rig.stop().await;
}
