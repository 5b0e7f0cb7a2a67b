use tokio::io::{DuplexStream, duplex};

use super::*;
use crate::protocol::SubAck;

/// The server's side of a client's stream.
async fn pair(options: ConnectOptions) -> (Client<DuplexStream>, Framed<DuplexStream>) {
    let (near, far) = duplex(64 * 1024);
    let mut server = Framed::new(far, Box::new(CoreCodec::server(1 << 20)));
    let serve = async {
        assert!(matches!(server.receive().await, Ok(Some(Packet::Connect(_)))));
        server.send(&Packet::ConnAck(Box::new(ConnAck::new(Reason::SUCCESS)))).await.unwrap();
        server
    };
    let (client, server) = tokio::join!(Client::connect(near, options), serve);
    (client.unwrap().0, server)
}

async fn receive(server: &mut Framed<DuplexStream>) -> Packet {
    server.receive().await.unwrap().unwrap()
}

fn ack(kind: AckKind, packet_id: PacketId) -> Packet {
    Packet::Ack(Ack { kind, packet_id, reason: Reason::SUCCESS })
}

fn options(window: u16) -> ConnectOptions {
    ConnectOptions { window, ..ConnectOptions::new(Version::V5, "c") }
}

#[tokio::test]
async fn sending_waits_only_while_the_window_is_full() {
    let (mut client, mut server) = pair(options(2)).await;
    let message = || Publish::new("t", "x").with_qos(Qos::AtLeastOnce);
    let first = client.send(message()).await.unwrap().unwrap();
    client.send(message()).await.unwrap();
    assert_eq!(client.unacknowledged(), 2);
    let third = async { client.send(message()).await.unwrap() };
    let serve = async {
        assert!(matches!(receive(&mut server).await, Packet::Publish(_)));
        assert!(matches!(receive(&mut server).await, Packet::Publish(_)));
        server.send(&ack(AckKind::PubAck, first)).await.unwrap();
    };
    tokio::join!(third, serve);
    assert_eq!(client.unacknowledged(), 2);
    let event = client.next().await.unwrap();
    assert_eq!(event, Event::Acknowledged { packet_id: first, reason: Reason::SUCCESS });
}

#[tokio::test]
async fn publishing_at_qos_2_ends_with_pubcomp() {
    let (mut client, mut server) = pair(options(9)).await;
    let publish = client.publish(Publish::new("t", "x").with_qos(Qos::ExactlyOnce));
    let serve = async {
        let Packet::Publish(publish) = receive(&mut server).await else { panic!() };
        let id = publish.packet_id.unwrap();
        server.send(&ack(AckKind::PubRec, id)).await.unwrap();
        assert_eq!(receive(&mut server).await, ack(AckKind::PubRel, id));
        server.send(&ack(AckKind::PubComp, id)).await.unwrap();
    };
    let (result, ()) = tokio::join!(publish, serve);
    result.unwrap();
    assert_eq!(client.unacknowledged(), 0);
}

#[tokio::test]
async fn a_refused_message_is_an_error_with_the_reason() {
    let (mut client, mut server) = pair(options(9)).await;
    for (qos, kind) in [(Qos::AtLeastOnce, AckKind::PubAck), (Qos::ExactlyOnce, AckKind::PubRec)] {
        let publish = client.publish(Publish::new("t", "x").with_qos(qos));
        let serve = async {
            let Packet::Publish(publish) = receive(&mut server).await else { panic!() };
            let packet_id = publish.packet_id.unwrap();
            server.send(&Packet::Ack(Ack { kind, packet_id, reason: Reason::NOT_AUTHORIZED })).await.unwrap();
        };
        match tokio::join!(publish, serve).0 {
            Err(ClientError::NotTaken(reason)) => assert_eq!(reason, Reason::NOT_AUTHORIZED),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(client.unacknowledged(), 0);
}

#[tokio::test]
async fn an_incoming_qos_2_message_is_handed_out_once() {
    let (mut client, mut server) = pair(options(9)).await;
    let id = PacketId::new(5).unwrap();
    let message = |dup| Publish { packet_id: Some(id), dup, ..Publish::new("t", "x").with_qos(Qos::ExactlyOnce) };
    for dup in [false, true] {
        server.queue(&Packet::Publish(message(dup))).unwrap();
    }
    server.queue(&ack(AckKind::PubRel, id)).unwrap();
    server.send(&Packet::Publish(message(false))).await.unwrap();
    assert_eq!(client.next().await.unwrap(), Event::Message(message(false)));
    assert_eq!(client.next().await.unwrap(), Event::Message(message(false)), "the id was released");
    client.flush().await.unwrap();
    for kind in [AckKind::PubRec, AckKind::PubRec, AckKind::PubComp, AckKind::PubRec] {
        assert_eq!(receive(&mut server).await, ack(kind, id));
    }
}

#[tokio::test]
async fn messages_that_come_before_suback_are_kept() {
    let (mut client, mut server) = pair(options(9)).await;
    let filters = [("a", Qos::AtLeastOnce), ("b", Qos::AtMostOnce)];
    let subscribe = client.subscribe(&filters);
    let serve = async {
        let Packet::Subscribe(subscribe) = receive(&mut server).await else { panic!() };
        server.queue(&Packet::Publish(Publish::new("a", "early"))).unwrap();
        let reasons = vec![Reason(1), Reason::NOT_AUTHORIZED];
        let suback = SubAck { packet_id: subscribe.packet_id, reasons };
        server.send(&Packet::SubAck(Box::new(suback))).await.unwrap();
    };
    let (results, ()) = tokio::join!(subscribe, serve);
    let expected = [SubscribeResult::Granted(Qos::AtLeastOnce), SubscribeResult::Refused(Reason::NOT_AUTHORIZED)];
    assert_eq!(results.unwrap(), expected);
    assert_eq!(client.next().await.unwrap(), Event::Message(Publish::new("a", "early")));
}

#[tokio::test]
async fn a_refused_connect_says_why() {
    for version in [Version::V311, Version::V5] {
        let (near, far) = duplex(1_024);
        let mut server = Framed::new(far, Box::new(CoreCodec::server(1 << 20)));
        let serve = async {
            server.receive().await.unwrap();
            server.send(&Packet::ConnAck(Box::new(ConnAck::new(Reason::BAD_CREDENTIALS)))).await.unwrap();
        };
        match tokio::join!(Client::connect(near, ConnectOptions::new(version, "c")), serve).0 {
            Err(ClientError::Refused(reason)) => assert_eq!(reason, Reason::BAD_CREDENTIALS),
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn a_server_that_closes_ends_every_wait() {
    let (mut client, server) = pair(options(9)).await;
    drop(server);
    assert!(client.publish(Publish::new("t", "x").with_qos(Qos::AtLeastOnce)).await.is_err());
    assert!(matches!(client.next().await, Err(ClientError::Closed | ClientError::Io(_))));
}
