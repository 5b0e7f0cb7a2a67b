//! A client and a server in one thread, without a socket, and how fast they are.
//!
//! `cargo run --release -p hubward-amqp --example in_memory -- [links] [messages] [bytes]`
//!
//! Each link has one message under way, as a device's link to IoT Hub has: it is sent, received, settled, and the
//! settlement is heard.

use std::time::Instant;

use bytes::BytesMut;
use hubward_amqp::connection::{
    AttachReply, AttachRequest, ClientConfig, ClientSasl, Connection, Delivery, Event, LinkRef, ServerConfig,
};
use hubward_amqp::performative::Outcome;

fn main() {
    let mut arguments = std::env::args().skip(1).map(|text| text.parse().expect("a number"));
    let links: usize = arguments.next().unwrap_or(995);
    let messages: usize = arguments.next().unwrap_or(2_000_000);
    let payload = vec![b'x'; arguments.next().unwrap_or(200)];

    let config = ClientConfig { sasl: ClientSasl::None, ..ClientConfig::new("client", "hub") };
    let mut client = Connection::client(config);
    let mut server = Connection::server(ServerConfig::new("server"));
    let mut wires = (BytesMut::new(), BytesMut::new());
    exchange(&mut client, &mut server, &mut wires);
    let channel = client.begin().expect("open");
    let links: Vec<LinkRef> = (0..links)
        .map(|n| client.attach(channel, AttachRequest::sender(format!("link-{n}"), "node")).expect("open"))
        .collect();
    exchange(&mut client, &mut server, &mut wires);

    let start = Instant::now();
    let mut settled = 0;
    while settled < messages {
        for link in &links {
            let delivery = Delivery { tag: b"0001", message_format: 0, payload: &payload, settled: false };
            client.send(*link, delivery).expect("credit and window");
        }
        settled += exchange(&mut client, &mut server, &mut wires);
    }
    let each = start.elapsed() / u32::try_from(settled).expect("a few million");
    println!("{settled} messages over {} links, {each:?} each for both ends", links.len());
}

/// Moves bytes until both are quiet, and counts what was settled.
fn exchange(client: &mut Connection, server: &mut Connection, wires: &mut (BytesMut, BytesMut)) -> usize {
    let mut settled = 0;
    loop {
        let (to_server, to_client) = wires;
        let quiet = client.output().is_empty() && server.output().is_empty();
        to_server.extend_from_slice(client.output());
        client.output().clear();
        server.receive(to_server).expect("our own frames");
        while let Some(event) = server.next_event() {
            match event {
                Event::AttachRequested { link, attach } => {
                    server.accept_attach(link, AttachReply::echo(&attach));
                    server.grant_credit(link, 1_000_000_000);
                }
                Event::Delivery { link, delivery } => {
                    server.settle(link, delivery.id, delivery.id, Outcome::Accepted);
                }
                _ => {}
            }
        }
        to_client.extend_from_slice(server.output());
        server.output().clear();
        client.receive(to_client).expect("our own frames");
        while let Some(event) = client.next_event() {
            if let Event::Settled { first, last, .. } = event {
                settled += last.wrapping_sub(first) as usize + 1;
            }
        }
        if quiet {
            return settled;
        }
    }
}
