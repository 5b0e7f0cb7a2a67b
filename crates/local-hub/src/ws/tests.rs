use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::Role;

use super::*;
use crate::testkit::Kit;

async fn pair() -> (Stream<tokio::io::DuplexStream>, WebSocketStream<tokio::io::DuplexStream>) {
    let (ours, theirs) = tokio::io::duplex(4096);
    (Stream::server(ours).await, WebSocketStream::from_raw_socket(theirs, Role::Client, None).await)
}

#[tokio::test]
async fn messages_of_any_size_are_one_stream_of_bytes() {
    use futures_util::{SinkExt, StreamExt};
    let (mut stream, mut client) = pair().await;
    let sending = async {
        for part in ["a", "", "bc", &"d".repeat(100_000)] {
            client.send(Message::Ping("p".into())).await.unwrap();
            client.send(Message::binary(part.to_owned())).await.unwrap();
        }
        let mut echoed = Vec::new();
        while echoed.len() < 100_003 {
            match client.next().await.unwrap().unwrap() {
                Message::Binary(bytes) => echoed.extend_from_slice(&bytes),
                Message::Pong(bytes) => assert_eq!(&*bytes, b"p"),
                other => panic!("{other}"),
            }
        }
        client.close(None).await.unwrap();
        while client.next().await.is_some() {}
        echoed
    };
    let echoing = async move {
        let mut bytes = Vec::new();
        let mut space = [0; 1000];
        while bytes.len() < 100_003 {
            let count = stream.read(&mut space).await.unwrap();
            assert!(count > 0);
            bytes.extend_from_slice(&space[..count]);
        }
        stream.write_all(&bytes).await.unwrap();
        stream.flush().await.unwrap();
        assert_eq!(stream.read(&mut space).await.unwrap(), 0, "a close is the end");
        let _ = stream.shutdown().await;
    };
    let (echoed, ()) = tokio::join!(sending, echoing);
    assert_eq!(echoed.len(), 100_003);
    assert!(echoed.starts_with(b"abcddd"));
}

#[tokio::test]
async fn a_text_message_is_refused() {
    use futures_util::SinkExt;
    let (mut stream, mut client) = pair().await;
    client.send(Message::text("x")).await.unwrap();
    assert!(stream.read_u8().await.is_err());
}

#[tokio::test]
async fn what_is_no_websocket_request_is_refused_with_the_reason() {
    let kit = Kit::start().await;
    let good = [
        ("connection", "keep-alive, Upgrade"),
        ("upgrade", "WebSocket"),
        ("sec-websocket-version", "13"),
        ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ("sec-websocket-protocol", "mqtt"),
    ];
    for left_out in 0..good.len() {
        let headers: Vec<_> =
            good.iter().enumerate().filter(|(place, _)| *place != left_out).map(|(_, header)| *header).collect();
        let (status, ..) = kit.rest_as("", "GET", "/$iothub/websocket", &headers, None).await;
        assert_eq!(status, 400, "without {}", good[left_out].0);
    }
    let (status, headers, _) = kit
        .rest_as(
            "",
            "GET",
            "/$iothub/websocket",
            &[good[0], good[1], good[2], good[3], ("sec-websocket-protocol", "chat")],
            None,
        )
        .await;
    assert_eq!(status, 400);
    assert!(!headers.contains_key("sec-websocket-accept"));
    kit.hub.stop().await;
}
