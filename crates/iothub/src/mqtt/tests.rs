//! A device's connection against a scripted hub.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use hubward_mqtt::client::Framed;
use hubward_mqtt::protocol::{Ack, AckKind, ConnAck, Connect, CoreCodec, Packet, Reason};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, oneshot};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::timeout;
use tokio_rustls::server::TlsStream;

use super::*;
use crate::connection_string::SharedAccessKey;
use crate::message::D2cMessage;
use crate::sas::Lifetime;
use crate::test_server::{KEY, trusted};

const HOST: &str = "testhub.azure-devices.net";
const PATIENCE: Duration = Duration::from_secs(60);

type Peer = Framed<TlsStream<TcpStream>>;

/// What the hub saw.
#[derive(Debug, Default)]
struct Seen {
    connects: Vec<Connect>,
    bodies: Vec<String>,
    topics: Vec<String>,
    open: usize,
    most_open: usize,
}

/// A hub that answers CONNECT with `reason` and acknowledges until the message `closes_on` comes.
#[derive(Clone)]
struct Script {
    reason: Reason,
    closes_on: Option<&'static str>,
    acknowledges: bool,
    /// Waited for before the connection is closed after a goodbye.
    lets_go: Option<Arc<Notify>>,
}

impl Default for Script {
    fn default() -> Self {
        Self { reason: Reason::SUCCESS, closes_on: None, acknowledges: true, lets_go: None }
    }
}

struct Hub {
    target: Target,
    seen: Arc<Mutex<Seen>>,
    _task: JoinSet<()>,
}

impl Hub {
    async fn start(script: Script) -> Self {
        let (acceptor, ca) = trusted();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = ("localhost".to_owned(), listener.local_addr().unwrap().port());
        let tls = Arc::new(crate::tls::client_config(Some(&ca)).unwrap());
        let seen = Arc::new(Mutex::new(Seen::default()));
        let mut task = JoinSet::new();
        let log = Arc::clone(&seen);
        task.spawn(async move {
            let mut open = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let (acceptor, log, script) = (acceptor.clone(), Arc::clone(&log), script.clone());
                open.spawn(async move {
                    let Ok(stream) = acceptor.accept(stream).await else { return };
                    serve(Framed::new(stream, Box::new(CoreCodec::server(1 << 20))), &log, &script).await;
                });
            }
        });
        Self { target: Target::new(HOST, address, tls), seen, _task: task }
    }

    fn seen<T>(&self, look: impl FnOnce(&Seen) -> T) -> T {
        look(&self.seen.lock().unwrap())
    }

    async fn until(&self, enough: impl Fn(&Seen) -> bool) {
        let looking = async {
            while !self.seen(&enough) {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        soon(looking).await;
    }
}

async fn serve(mut peer: Peer, seen: &Mutex<Seen>, script: &Script) {
    let Ok(Some(Packet::Connect(connect))) = peer.receive().await else { return };
    seen.lock().unwrap().connects.push(*connect);
    peer.send(&Packet::ConnAck(Box::new(ConnAck::new(script.reason)))).await.unwrap();
    if script.reason.is_error() {
        return;
    }
    {
        let mut seen = seen.lock().unwrap();
        seen.open += 1;
        seen.most_open = seen.most_open.max(seen.open);
    }
    while let Ok(Some(packet)) = peer.receive().await {
        match packet {
            Packet::Publish(publish) => {
                let body = String::from_utf8(publish.payload.to_vec()).unwrap();
                if script.closes_on == Some(body.as_str()) {
                    break;
                }
                {
                    let mut seen = seen.lock().unwrap();
                    seen.bodies.push(body);
                    seen.topics.push(publish.topic);
                }
                if script.acknowledges {
                    let packet_id = publish.packet_id.unwrap();
                    peer.queue(&Packet::Ack(Ack { kind: AckKind::PubAck, packet_id, reason: Reason::SUCCESS }))
                        .unwrap();
                    peer.flush().await.unwrap();
                }
            }
            Packet::Disconnect(_) => {
                if let Some(lets_go) = &script.lets_go {
                    lets_go.notified().await;
                }
                break;
            }
            other => panic!("{other:?}"),
        }
    }
    // From here on another connection of the device steals nothing; the peer learns it by the end of the stream.
    seen.lock().unwrap().open -= 1;
    let _ = peer.shutdown().await;
}

fn device() -> Identity {
    Identity::new("dev:1", SharedAccessKey::from_base64(KEY).unwrap())
}

fn signal(body: impl ToString) -> D2cMessage {
    D2cMessage { body: Bytes::from(body.to_string()), message_id: "m".into(), ..D2cMessage::default() }
}

async fn open(target: &Target) -> (Sender, JoinHandle<Closed>) {
    let (sender, driver) = soon(connect(target, &device())).await.unwrap();
    (sender, tokio::spawn(driver.run()))
}

async fn soon<T>(what: impl Future<Output = T>) -> T {
    timeout(PATIENCE, what).await.expect("in time")
}

#[tokio::test]
async fn a_device_introduces_itself_as_microsofts_sdks_do_and_publishes_in_order() {
    let hub = Hub::start(Script::default()).await;
    let (sender, driver) = open(&hub.target).await;
    let batch: Vec<_> = (0..300).map(signal).collect();
    soon(sender.send(&batch)).await.unwrap();
    soon(sender.send(&[signal("last")])).await.unwrap();
    soon(sender.detach()).await.unwrap();
    assert_eq!(driver.await.unwrap(), Closed::ByUs);
    hub.seen(|seen| {
        let mut expected: Vec<_> = (0..300).map(|n| n.to_string()).collect();
        expected.push("last".to_owned());
        assert_eq!(seen.bodies, expected);
        assert_eq!(seen.topics[0], "devices/dev:1/messages/events/%24.mid=m");
        let connect = &seen.connects[0];
        assert_eq!((connect.client_id.as_str(), connect.clean_start, connect.keep_alive), ("dev:1", true, 180));
        let name = connect.username.as_deref().unwrap();
        assert!(
            name.starts_with(
                "testhub.azure-devices.net/dev:1/?api-version=2021-04-12&DeviceClientType=hubward-iothub%2F"
            )
        );
        let password = String::from_utf8(connect.password.as_ref().unwrap().expose().to_vec()).unwrap();
        assert!(password.starts_with("SharedAccessSignature sr=testhub.azure-devices.net%2Fdevices%2Fdev%3A1&sig="));
    });
}

#[tokio::test]
async fn a_refusing_connack_is_told_by_its_code() {
    for (reason, condition) in [
        (Reason::NOT_AUTHORIZED, "mqtt:connack-5"),
        (Reason::BAD_CREDENTIALS, "mqtt:connack-4"),
        (Reason::SERVER_UNAVAILABLE, "mqtt:connack-3"),
        (Reason::CLIENT_ID_NOT_VALID, "mqtt:connack-2"),
    ] {
        let hub = Hub::start(Script { reason, ..Script::default() }).await;
        let refused = soon(connect(&hub.target, &device())).await.err().unwrap();
        assert!(matches!(&refused, AttachError::Refused(refusal) if refusal.condition == condition), "{refused:?}");
    }
}

#[tokio::test]
async fn when_the_hub_hangs_up_it_is_told_how_many_messages_were_accepted() {
    let hub = Hub::start(Script { closes_on: Some("2"), ..Script::default() }).await;
    let (sender, driver) = open(&hub.target).await;
    let batch: Vec<_> = (0..5).map(signal).collect();
    let not_sent = soon(sender.send(&batch)).await.unwrap_err();
    // A connection that is reset takes acknowledgements with it that were on their way.
    assert!(not_sent.accepted <= 2, "{not_sent:?}");
    assert!(matches!(not_sent.error, SendError::ConnectionLost(_)), "{not_sent:?}");
    assert!(matches!(soon(sender.lost()).await, SendError::ConnectionLost(_)));
    assert!(soon(sender.send(&batch)).await.is_err());
    assert!(soon(sender.detach()).await.is_err());
    assert_ne!(driver.await.unwrap(), Closed::ByUs);
}

#[tokio::test]
async fn a_message_that_is_not_acknowledged_in_time_ends_the_connection() {
    let hub = Hub::start(Script { acknowledges: false, ..Script::default() }).await;
    let mut target = hub.target.clone();
    target.timeouts.disposition = Duration::from_millis(50);
    let (sender, driver) = open(&target).await;
    let not_sent = soon(sender.send(&[signal("x")])).await.unwrap_err();
    assert_eq!(not_sent, NotSent { accepted: 0, error: SendError::NoDisposition });
    assert_eq!(soon(driver).await.unwrap(), Closed::Silent);
}

#[tokio::test]
async fn a_goodbye_waits_until_the_hub_has_closed() {
    let lets_go = Arc::new(Notify::new());
    let hub = Hub::start(Script { lets_go: Some(Arc::clone(&lets_go)), ..Script::default() }).await;
    let mut target = hub.target.clone();
    target.timeouts.close = PATIENCE;
    let (sender, _driver) = open(&target).await;
    soon(sender.send(&[signal("x")])).await.unwrap();
    let (told, mut confirmed) = oneshot::channel();
    let detach = tokio::spawn(async move { drop(told.send(sender.detach().await)) });
    assert_eq!(hub.seen(|seen| seen.open), 1);
    assert!(confirmed.try_recv().is_err());
    lets_go.notify_one();
    soon(confirmed).await.unwrap().unwrap();
    assert_eq!(hub.seen(|seen| seen.open), 0);
    detach.await.unwrap();
}

#[tokio::test]
async fn a_token_is_renewed_by_connecting_again_without_a_gap_in_order_and_never_twice_at_once() {
    let hub = Hub::start(Script::default()).await;
    let mut target = hub.target.clone();
    target.lifetime = Lifetime { valid_for: Duration::from_secs(3), renew_before: Duration::from_secs(2) };
    let (sender, driver) = open(&target).await;
    let mut sent = Vec::new();
    while hub.seen(|seen| seen.connects.len()) < 3 {
        let batch: Vec<_> = (sent.len()..sent.len() + 20).map(signal).collect();
        sent.extend(batch.iter().map(|message| String::from_utf8(message.body.to_vec()).unwrap()));
        soon(sender.send(&batch)).await.unwrap();
        tokio::task::yield_now().await;
    }
    // The third may still be on its way: what is sent now goes over it.
    soon(sender.send(&[signal("last")])).await.unwrap();
    sent.push("last".to_owned());
    drop(sender);
    assert_eq!(soon(driver).await.unwrap(), Closed::ByUs);
    hub.until(|seen| seen.open == 0).await;
    hub.seen(|seen| {
        assert_eq!(seen.bodies, sent);
        assert_eq!(seen.most_open, 1);
        let passwords: Vec<_> = seen.connects.iter().map(|c| c.password.as_ref().unwrap().expose().to_vec()).collect();
        assert_ne!(passwords[0], passwords[1]);
    });
}
