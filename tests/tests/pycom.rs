//! Boards with Pycom's firmware: nothing they sent well before a reset is lost, though they ask for no acknowledgement.

#![allow(clippy::unwrap_used, reason = "a test may fail at any step")]

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use bytes::Bytes;
use hubward_tests::events::Arrivals;
use hubward_tests::{Server, ServerOptions};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// How many signals each board sends.
const FRAMES: u32 = 1000;
/// A frame sent so long before its connection's reset must arrive.
const SURELY: Duration = Duration::from_millis(100);

/// An int signal whose value is `number`.
fn frame(number: u32) -> Vec<u8> {
    let mut frame = vec![0x0E, 0x05, 0x01];
    frame.extend_from_slice(&number.to_be_bytes());
    frame.push(0);
    frame
}

fn number(frame: &[u8]) -> u32 {
    u32::from_be_bytes([frame[3], frame[4], frame[5], frame[6]])
}

fn packet(first: u8, body: &[u8]) -> Vec<u8> {
    let mut packet = vec![first, u8::try_from(body.len()).expect("these packets are short")];
    packet.extend_from_slice(body);
    packet
}

fn text(text: &str) -> Vec<u8> {
    let mut bytes = u16::try_from(text.len()).expect("short").to_be_bytes().to_vec();
    bytes.extend_from_slice(text.as_bytes());
    bytes
}

/// One connection of a board, in the packets its firmware sends.
struct Connection {
    stream: TcpStream,
    sent: Vec<(u32, Instant)>,
    reset_at: Option<Instant>,
}

impl Connection {
    async fn open(address: &str, token: &str) -> Result<Self> {
        let mut stream = TcpStream::connect(address).await.context("connect")?;
        stream.set_nodelay(true).context("no delay")?;
        let mut connect = text("MQTT");
        connect.extend_from_slice(&[4, 0xC2, 0, 0]);
        for part in [token, "owner@example.org", token] {
            connect.extend(text(part));
        }
        stream.write_all(&packet(0x10, &connect)).await.context("CONNECT")?;
        let mut connack = [0u8; 4];
        stream.read_exact(&mut connack).await.context("CONNACK")?;
        anyhow::ensure!(connack == [0x20, 2, 0, 0], "CONNACK {connack:02x?}");
        let mut subscribe = vec![0, 1];
        subscribe.extend(text(&format!("d{token}")));
        subscribe.push(0);
        stream.write_all(&packet(0x82, &subscribe)).await.context("SUBSCRIBE")?;
        let mut suback = [0u8; 5];
        stream.read_exact(&mut suback).await.context("SUBACK")?;
        anyhow::ensure!(suback[4] == 0, "SUBACK {suback:02x?}");
        Ok(Self { stream, sent: Vec::new(), reset_at: None })
    }

    /// Sends one frame with QoS 0; false if the connection is gone.
    async fn send(&mut self, token: &str, number: u32) -> bool {
        let mut body = text(&format!("u{token}"));
        body.extend(frame(number));
        if self.is_reset() {
            return false;
        }
        let sent = self.stream.write_all(&packet(0x30, &body)).await.is_ok();
        if sent {
            self.sent.push((number, Instant::now()));
        } else {
            self.reset_at.get_or_insert_with(Instant::now);
        }
        sent
    }

    fn is_reset(&mut self) -> bool {
        let mut byte = [0u8; 64];
        match self.stream.try_read(&mut byte) {
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            // The firmware does not notice an orderly end, so it counts as none: the promise is a reset.
            Ok(0) => panic!("the connection was ended in order; Pycom's firmware does not notice that"),
            Ok(_) => {}
            Err(_) => {
                self.reset_at.get_or_insert_with(Instant::now);
            }
        }
        self.reset_at.is_some()
    }

    /// Waits for the reset that must come.
    async fn wait_for_reset(&mut self) -> Result<()> {
        if self.reset_at.is_some() {
            return Ok(());
        }
        let read = async {
            let mut byte = [0u8; 64];
            loop {
                match self.stream.read(&mut byte).await {
                    Ok(0) => anyhow::bail!("the connection was ended in order instead of reset"),
                    Ok(_) => {}
                    Err(_) => return Ok(()),
                }
            }
        };
        tokio::time::timeout(Duration::from_secs(60), read).await.context("no reset came")??;
        self.reset_at = Some(Instant::now());
        Ok(())
    }
}

/// A scripted board: sends its frames over as many connections as it takes; near the end it reboots without closing, so
/// that its session is taken over.
async fn board(address: String, token: String) -> Result<Vec<Connection>> {
    let mut old = Vec::new();
    let mut current = connect_until_it_works(&address, &token).await?;
    for number in 0..FRAMES {
        if number == FRAMES - 100 {
            let next = connect_until_it_works(&address, &token).await?;
            let mut left = std::mem::replace(&mut current, next);
            left.wait_for_reset().await?;
            old.push(left);
        }
        if !current.send(&token, number).await {
            let next = connect_until_it_works(&address, &token).await?;
            old.push(std::mem::replace(&mut current, next));
            // The firmware drops the packet it was sending when it noticed the break; so does this board.
        }
        // The pace of the script, not a wait for anything: a thousand frames take some ten seconds.
        tokio::time::sleep(Duration::from_millis(8)).await;
    }
    old.push(current);
    Ok(old)
}

async fn connect_until_it_works(address: &str, token: &str) -> Result<Connection> {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        match Connection::open(address, token).await {
            Ok(connection) => return Ok(connection),
            Err(error) if Instant::now() > deadline => return Err(error),
            Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_each_connection_an_unbroken_run_arrives_that_holds_all_sent_100_ms_before_its_reset() {
    let options = ServerOptions::with_local_hub().config("[journal]\ncommit_delay = \"200ms\"\n");
    let mut server = Server::start(options).await.unwrap();
    let mut tokens = Vec::new();
    let string = server.folder().join("string.txt");
    std::fs::write(&string, server.local_hub()["connection_strings"]["registryReadWrite"].as_str().unwrap()).unwrap();
    let string = string.display().to_string();
    let mut add =
        vec!["integration", "add", "azure", "--name", "boards", "--topic", "t", "--connection-string-file", &string];
    for name in ["p1", "p2", "p3"] {
        tokens.push(server.cli().add_pycom(name).await.unwrap().1);
        add.extend(["--device", name]);
    }
    server.cli().json(&add).await.unwrap();

    let mut boards = tokio::task::JoinSet::new();
    for (place, token) in tokens.iter().enumerate() {
        let (address, token) = (server.mqtt().to_owned(), token.clone());
        boards.spawn(async move { (place, board(address, token).await) });
    }
    for _ in 0..2 {
        tokio::time::sleep(Duration::from_millis(1200)).await;
        server.stop().await.unwrap();
        server.start_again().await.unwrap();
    }
    let mut connections: Vec<Vec<Connection>> = tokens.iter().map(|_| Vec::new()).collect();
    while let Some(done) = boards.join_next().await {
        let (place, done) = done.unwrap();
        connections[place] = done.unwrap();
    }
    // The last connections are still open: stop the server, which reads what arrived and resets them.
    let stopping = server.stop();
    let waiting = async {
        for open in connections.iter_mut().flatten() {
            open.wait_for_reset().await.unwrap();
        }
    };
    let (stopped, ()) = tokio::join!(stopping, waiting);
    stopped.unwrap();
    server.start_again().await.unwrap();

    let sent: usize = connections.iter().flatten().map(|connection| connection.sent.len()).sum();
    assert!(sent > 1500, "the boards sent most of their frames: {sent}");
    let arrivals = drained(&server, "boards").await.unwrap();
    for (place, name) in ["p1", "p2", "p3"].iter().enumerate() {
        let shown = server.cli().json(&["integration", "show", "boards"]).await.unwrap();
        let binding = shown["devices"].as_array().unwrap().iter().find(|b| b["device"] == *name).unwrap().clone();
        let arrived: Vec<u32> =
            arrivals.bodies(binding["hub_device_id"].as_str().unwrap()).into_iter().map(number).collect();
        assert!(arrived.is_sorted(), "{name}: in order");
        let frames: Vec<usize> = connections[place].iter().map(|connection| connection.sent.len()).collect();
        assert!(frames.len() >= 3, "{name}: two stops and a takeover make several connections: {frames:?}");
        for (count, connection) in connections[place].iter().enumerate() {
            let reset_at = connection.reset_at.unwrap();
            let here: Vec<u32> =
                connection.sent.iter().map(|(n, _)| *n).filter(|n| arrived.binary_search(n).is_ok()).collect();
            let run: Vec<u32> = connection.sent.iter().take(here.len()).map(|(n, _)| *n).collect();
            assert_eq!(here, run, "{name}, connection {count}: an unbroken run from the first frame");
            let sure = connection.sent.iter().filter(|(_, at)| *at + SURELY <= reset_at).count();
            assert!(
                here.len() >= sure,
                "{name}, connection {count}: {sure} frames were sent 100 ms or more before the reset, {} arrived of {}",
                here.len(),
                connection.sent.len()
            );
        }
    }
}

/// Everything that arrived, once the integration has no backlog.
async fn drained(server: &Server, integration: &str) -> Result<Arrivals> {
    let deadline = Instant::now() + Duration::from_secs(60);
    let delivered = loop {
        let shown = server.cli().json(&["integration", "show", integration]).await?;
        let devices = shown["devices"].as_array().context("devices")?;
        if shown["state"] == "active" && devices.iter().all(|device| device["backlog"] == 0) {
            break devices.iter().filter_map(|device| device["delivered"].as_u64()).sum::<u64>();
        }
        anyhow::ensure!(Instant::now() < deadline, "the backlog did not drain: {shown}");
    };
    let string = server.local_hub()["connection_strings"]["eventhubs"].as_str().context("a reader's string")?;
    Arrivals::read(string, server.folder(), usize::try_from(delivered)?).await
}

#[test]
fn a_frame_is_what_the_firmware_sends() {
    assert_eq!(Bytes::from(frame(25)), Bytes::from_static(&[0x0E, 5, 1, 0, 0, 0, 25, 0]));
    assert_eq!(number(&frame(77)), 77);
}
