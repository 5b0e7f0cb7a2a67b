#![allow(clippy::result_large_err, reason = "a refused handshake is the WebSocket library's own type")]

use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_tungstenite::accept_hdr_async;
use tokio_tungstenite::tungstenite::handshake::server::{ErrorResponse, Request, Response};
use tokio_tungstenite::tungstenite::http::StatusCode;

use super::*;
use crate::link::{Target, stream};
use crate::test_server::trusted;

/// A host that answers one WebSocket request by `answer` and sends everything back until it is told goodbye.
async fn echo(
    answer: impl Fn(&Request, Response) -> Result<Response, ErrorResponse> + Send + Sync + Unpin + 'static,
) -> (Target, JoinHandle<()>) {
    let (acceptor, ca) = trusted();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = ("localhost".to_owned(), listener.local_addr().unwrap().port());
    let task = tokio::spawn(async move {
        let (tcp, _) = listener.accept().await.unwrap();
        let tls: Box<dyn Stream> = Box::new(acceptor.accept(tcp).await.unwrap());
        let Ok(inner) = accept_hdr_async(tls, answer).await else { return };
        let mut stream = WebSocket { inner, read: Bytes::new(), closed: false };
        let mut bytes = vec![0; 3000];
        while let Ok(count @ 1..) = stream.read(&mut bytes).await {
            stream.write_all(&bytes[..count]).await.unwrap();
            stream.flush().await.unwrap();
        }
        stream.shutdown().await.unwrap();
    });
    let tls = Arc::new(crate::tls::client_config(Some(&ca)).unwrap());
    (Target::new("testhub.azure-devices.net", address, tls).in_web_socket(), task)
}

#[tokio::test]
async fn bytes_pass_both_ways_and_a_goodbye_is_the_end_of_the_stream() {
    let (target, server) = echo(|request: &Request, mut response: Response| {
        assert_eq!(request.uri().path(), "/$iothub/websocket");
        assert_eq!(request.headers()["sec-websocket-protocol"], "AMQPWSB10");
        assert!(request.headers()["host"].to_str().unwrap().starts_with("testhub.azure-devices.net:"));
        response.headers_mut().insert("sec-websocket-protocol", HeaderValue::from_static("AMQPWSB10"));
        Ok(response)
    })
    .await;
    let stream = stream::open(&target, Subprotocol::Amqp).await.unwrap();
    let sent: Vec<u8> = (0..200_000u32).map(|n| n.to_le_bytes()[0]).collect();
    let (mut reader, mut writer) = tokio::io::split(stream);
    let write = async {
        for chunk in sent.chunks(7919) {
            writer.write_all(chunk).await.unwrap();
            writer.flush().await.unwrap();
        }
    };
    let mut received = vec![0; sent.len()];
    let (read, ()) = tokio::join!(reader.read_exact(&mut received), write);
    read.unwrap();
    assert!(received == sent);
    writer.shutdown().await.unwrap();
    assert_eq!(reader.read(&mut received).await.unwrap(), 0);
    server.await.unwrap();
}

#[tokio::test]
async fn a_host_that_takes_no_web_socket_is_named_with_its_answer() {
    let (target, server) = echo(|_: &Request, _: Response| {
        let mut refusal = ErrorResponse::new(None);
        *refusal.status_mut() = StatusCode::FORBIDDEN;
        Err(refusal)
    })
    .await;
    let error = stream::open(&target, Subprotocol::Mqtt).await.err().unwrap();
    assert_eq!(error.to_string(), "no WebSocket to testhub.azure-devices.net: the host answered 403 Forbidden");
    server.await.unwrap();
}

#[tokio::test]
async fn a_host_that_does_not_speak_the_protocol_is_refused() {
    let (target, server) = echo(|_: &Request, response: Response| Ok(response)).await;
    let error = stream::open(&target, Subprotocol::Mqtt).await.err().unwrap();
    assert!(matches!(error, OpenError::WebSocket { .. }), "{error}");
    server.await.unwrap();
}
