//! Another implementation as the peer: fe2o3-amqp against our server, and our client against its listener.

use std::io;
use std::time::Duration;

use bytes::{Buf, BytesMut};
use fe2o3_amqp::acceptor::{ConnectionAcceptor, LinkAcceptor, LinkEndpoint, SaslAnonymousMechanism, SessionAcceptor};
use fe2o3_amqp::sasl_profile::SaslProfile;
use fe2o3_amqp::types::definitions::{AmqpError, Error as TheirError};
use fe2o3_amqp::types::messaging::{Data, Outcome as TheirOutcome};
use fe2o3_amqp::{Connection as TheirConnection, Receiver, Sender, Session};
use hubward_amqp::connection::{
    AttachReply, AttachRequest, ClientConfig, ClientSasl, Connection, Delivery, Event, LinkRef, ServerConfig, Settings,
};
use hubward_amqp::message::{FORMAT_AMQP, Message};
use hubward_amqp::performative::{Error, Outcome, Role, Source, condition};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::time::timeout;

const PATIENCE: Duration = Duration::from_secs(60);

/// Our state machine and its end of a stream.
struct Ours {
    amqp: Connection,
    stream: DuplexStream,
    input: BytesMut,
}

impl Ours {
    fn new(amqp: Connection, stream: DuplexStream) -> Ours {
        Ours { amqp, stream, input: BytesMut::new() }
    }

    /// The next event; none when the peer has hung up.
    async fn event(&mut self) -> io::Result<Option<Event>> {
        loop {
            while !self.amqp.output().is_empty() {
                let written = self.stream.write(self.amqp.output()).await?;
                self.amqp.output().advance(written);
            }
            if let Some(event) = self.amqp.next_event() {
                return Ok(Some(event));
            }
            if self.stream.read_buf(&mut self.input).await? == 0 {
                return Ok(None);
            }
            self.amqp.receive(&mut self.input).map_err(io::Error::other)?;
        }
    }

    fn send(&mut self, link: LinkRef, body: &[u8]) {
        let payload = Message::data(body.to_vec()).to_bytes();
        let delivery = Delivery { tag: b"t", message_format: FORMAT_AMQP, payload: &payload, settled: false };
        self.amqp.send(link, delivery).expect("credit and window");
    }
}

/// Bodies of which some need several frames.
fn bodies() -> Vec<Vec<u8>> {
    (0..60usize).map(|n| vec![n.to_le_bytes()[0]; if n % 20 == 19 { 50_000 } else { n }]).collect()
}

/// A server of ours: it keeps what it gets, refuses what begins with 13, and sends `bodies` to whoever receives.
async fn serve(stream: DuplexStream) -> io::Result<Vec<Vec<u8>>> {
    let settings = Settings { max_frame_size: 4096, incoming_window: 8, ..Settings::default() };
    let mut ours = Ours::new(Connection::server(ServerConfig { settings, ..ServerConfig::new("ours") }), stream);
    let mut received = Vec::new();
    let mut to_send = bodies().into_iter();
    while let Some(event) = ours.event().await? {
        match event {
            Event::AttachRequested { link, attach } => {
                ours.amqp.accept_attach(link, AttachReply::echo(&attach));
                if attach.role == Role::Sender {
                    ours.amqp.grant_credit(link, 10);
                }
            }
            Event::Delivery { link, delivery } => {
                let body = Message::decode(&delivery.payload).expect("a message").body_bytes().expect("data");
                let outcome = match body.first() {
                    Some(13) => Outcome::Rejected(Some(Box::new(Error::new(condition::NOT_ALLOWED, "thirteen")))),
                    _ => Outcome::Accepted,
                };
                ours.amqp.settle(link, delivery.id, delivery.id, outcome);
                ours.amqp.grant_credit(link, 10);
                received.push(body.to_vec());
            }
            Event::Credit { link, credit, .. } => {
                for body in to_send.by_ref().take(credit as usize) {
                    ours.send(link, &body);
                }
            }
            Event::Closed { .. } => {
                let mut rest = ours.amqp.output().split();
                ours.stream.write_all_buf(&mut rest).await?;
                return Ok(received);
            }
            _ => {}
        }
    }
    Ok(received)
}

async fn their_client_against_our_server(sasl: bool) {
    let (theirs, ours) = duplex(64 * 1024);
    let server = tokio::spawn(serve(ours));
    let builder = TheirConnection::builder().container_id("theirs").hostname("hub").max_frame_size(2048);
    let mut connection = match sasl {
        true => builder.sasl_profile(SaslProfile::Anonymous).open_with_stream(theirs).await,
        false => builder.open_with_stream(theirs).await,
    }
    .expect("opened");
    let mut session = Session::begin(&mut connection).await.expect("begun");

    let mut sender = Sender::attach(&mut session, "out", "node").await.expect("attached");
    for body in bodies() {
        let thirteen = body.first() == Some(&13);
        let outcome = sender.send(Data::from(body)).await.expect("sent");
        match outcome {
            TheirOutcome::Accepted(_) => assert!(!thirteen),
            TheirOutcome::Rejected(rejected) => {
                assert!(thirteen);
                let description = rejected.error.expect("a reason").description;
                assert_eq!(description.as_deref(), Some("thirteen"));
            }
            other => panic!("{other:?}"),
        }
    }
    let mut receiver = Receiver::attach(&mut session, "in", "node").await.expect("attached");
    for body in bodies() {
        let delivery = receiver.recv::<Data>().await.expect("received");
        assert!(delivery.body().0[..] == body);
        receiver.accept(&delivery).await.expect("accepted");
    }
    sender.close().await.expect("closed");
    receiver.close().await.expect("closed");
    session.end().await.expect("ended");
    connection.close().await.expect("closed");
    let received = server.await.expect("no panic").expect("no error");
    assert!(received == bodies(), "all arrived, in order");
}

#[tokio::test]
async fn fe2o3_as_client_is_served_without_sasl() {
    timeout(PATIENCE, their_client_against_our_server(false)).await.expect("in time");
}

#[tokio::test]
async fn fe2o3_as_client_is_served_with_sasl() {
    timeout(PATIENCE, their_client_against_our_server(true)).await.expect("in time");
}

/// Their listener: takes one link each way, refuses what begins with 13, and sends `bodies`.
async fn listen(stream: DuplexStream) -> Vec<Vec<u8>> {
    let acceptor = ConnectionAcceptor::builder()
        .container_id("theirs")
        .max_frame_size(4096)
        .sasl_acceptor(SaslAnonymousMechanism {})
        .build();
    let mut connection = acceptor.accept(stream).await.expect("accepted");
    let mut session = SessionAcceptor::new().accept(&mut connection).await.expect("accepted");
    let links = LinkAcceptor::new();
    let LinkEndpoint::Receiver(mut receiver) = links.accept(&mut session).await.expect("accepted") else {
        panic!("the first link sends to us")
    };
    let mut received = Vec::new();
    while received.len() < bodies().len() {
        let delivery = receiver.recv::<Data>().await.expect("received");
        let body = delivery.body().0.to_vec();
        if body.first() == Some(&13) {
            let error = TheirError::new(AmqpError::NotAllowed, Some("thirteen".to_owned()), None);
            receiver.reject(&delivery, error).await.expect("rejected");
        } else {
            receiver.accept(&delivery).await.expect("accepted");
        }
        received.push(body);
    }
    let LinkEndpoint::Sender(mut sender) = links.accept(&mut session).await.expect("accepted") else {
        panic!("the second link receives from us")
    };
    for body in bodies() {
        let outcome = sender.send(Data::from(body)).await.expect("sent");
        assert!(matches!(outcome, TheirOutcome::Accepted(_)), "{outcome:?}");
    }
    // Until the client goes.
    let _ = sender.on_detach().await;
    let _ = session.on_end().await;
    let _ = connection.on_close().await;
    received
}

/// Waits until `done` says so; events that nobody expects are ignored.
async fn until<T>(ours: &mut Ours, mut done: impl FnMut(&mut Connection, Event) -> Option<T>) -> T {
    loop {
        let event = ours.event().await.expect("no error").expect("the peer is there");
        if let Some(result) = done(&mut ours.amqp, event) {
            return result;
        }
    }
}

async fn our_client_against_their_listener() {
    let (ours, theirs) = duplex(64 * 1024);
    let listener = tokio::spawn(listen(theirs));
    let config = ClientConfig {
        sasl: ClientSasl::Anonymous,
        settings: Settings { max_frame_size: 2048, ..Settings::default() },
        ..ClientConfig::new("ours", "hub")
    };
    let mut ours = Ours::new(Connection::client(config), ours);
    until(&mut ours, |_, event| matches!(event, Event::Opened(_)).then_some(())).await;
    let channel = ours.amqp.begin().expect("open");
    let out = ours.amqp.attach(channel, AttachRequest::sender("out", "node")).expect("open");

    for body in bodies() {
        while ours.amqp.credit(out) == 0 {
            until(&mut ours, |_, event| matches!(event, Event::Credit { .. }).then_some(())).await;
        }
        ours.send(out, &body);
        let outcome = until(&mut ours, |_, event| match event {
            Event::Settled { link, outcome, .. } if link == out => Some(outcome),
            _ => None,
        })
        .await;
        match outcome {
            Outcome::Accepted => assert_ne!(body.first(), Some(&13)),
            Outcome::Rejected(Some(error)) => assert_eq!(error.description.as_deref(), Some("thirteen")),
            other => panic!("{other:?}"),
        }
    }

    let back = ours.amqp.attach(channel, AttachRequest::receiver("in", Source::at("node"))).expect("open");
    let mut received = Vec::new();
    while received.len() < bodies().len() {
        let body = until(&mut ours, |amqp, event| match event {
            Event::Attached { link, .. } if link == back => {
                amqp.grant_credit(back, 5);
                None
            }
            Event::Delivery { link, delivery } if link == back => {
                amqp.settle(back, delivery.id, delivery.id, Outcome::Accepted);
                amqp.grant_credit(back, 5);
                Some(Message::decode(&delivery.payload).expect("a message").body_bytes().expect("data").to_vec())
            }
            _ => None,
        })
        .await;
        received.push(body);
    }
    assert!(received == bodies(), "all arrived, in order");

    ours.amqp.detach(out, None);
    ours.amqp.detach(back, None);
    let mut gone = 0;
    until(&mut ours, |_, event| {
        gone += usize::from(matches!(event, Event::Detached { .. }));
        (gone == 2).then_some(())
    })
    .await;
    ours.amqp.end(channel, None);
    until(&mut ours, |_, event| matches!(event, Event::Ended { .. }).then_some(())).await;
    ours.amqp.close(None);
    until(&mut ours, |_, event| matches!(event, Event::Closed { .. }).then_some(())).await;
    drop(ours);
    assert!(listener.await.expect("no panic") == bodies(), "all arrived, in order");
}

#[tokio::test]
async fn our_client_is_served_by_fe2o3() {
    timeout(PATIENCE, our_client_against_their_listener()).await.expect("in time");
}
