use proptest::prelude::*;

use super::*;

/// What a client writes in a life with every kind of frame, in parts: before each it waits for the server.
fn recorded() -> Vec<BytesMut> {
    let mut wire = Vec::new();
    let mut pair = Pair::new(client_config(ClientSasl::Mssbcbs), ServerConfig::new("hub"));
    let step = |pair: &mut Pair, wire: &mut Vec<BytesMut>| loop {
        let bytes = pair.client.output().split();
        wire.push(bytes.clone());
        pair.to_server.unsplit(bytes);
        pair.server.receive(&mut pair.to_server).expect("our own frames");
        pair.server_events.extend(std::iter::from_fn(|| pair.server.next_event()));
        pair.to_client.unsplit(pair.server.output().split());
        pair.client.receive(&mut pair.to_client).expect("our own frames");
        if pair.client.output().is_empty() {
            return;
        }
    };
    step(&mut pair, &mut wire);
    let channel = pair.client.begin().expect("open");
    let out = pair.client.attach(channel, AttachRequest::sender("out", "node")).expect("open");
    let back = pair.client.attach(channel, AttachRequest::receiver("back", Source::at("node"))).expect("open");
    step(&mut pair, &mut wire);
    for event in pair.take_server_events() {
        if let Event::AttachRequested { link, attach } = event {
            pair.server.accept_attach(link, AttachReply::echo(&attach));
            pair.server.grant_credit(link, 100);
        }
    }
    step(&mut pair, &mut wire);
    pair.client.grant_credit(back, 7);
    for size in [1, 10, 300, 100_000] {
        pair.client.send(out, message(&vec![b'x'; size])).expect("credit");
    }
    step(&mut pair, &mut wire);
    pair.client.detach(out, None);
    pair.client.end(channel, None);
    pair.client.close(Some(Error::bare(condition::INTERNAL_ERROR)));
    step(&mut pair, &mut wire);
    wire
}

fn events_of(wire: &[BytesMut], chunks: &[usize]) -> Vec<String> {
    let mut server = Connection::server(ServerConfig::new("hub"));
    let mut events = Vec::new();
    let mut input = BytesMut::new();
    let mut chunks = chunks.iter().cycle();
    for part in wire {
        let mut rest = &part[..];
        while !rest.is_empty() {
            let size = chunks.next().copied().unwrap_or(1).min(rest.len());
            input.extend_from_slice(&rest[..size]);
            rest = &rest[size..];
            server.receive(&mut input).expect("our own frames");
            while let Some(event) = server.next_event() {
                events.push(format!("{event:?}"));
                if let Event::AttachRequested { link, attach } = event {
                    server.accept_attach(link, AttachReply::echo(&attach));
                    server.grant_credit(link, 100);
                }
            }
        }
    }
    events
}

#[test]
fn frames_may_come_in_any_chunks() {
    let wire = recorded();
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig::with_cases(64));
    let by_byte = events_of(&wire, &[1]);
    assert!(by_byte.len() >= 10, "{by_byte:#?}");
    let chunks = prop::collection::vec(prop_oneof![1..10usize, 1..200usize, 1000..200_000usize], 1..20);
    runner
        .run(&chunks, |chunks| {
            prop_assert_eq!(&events_of(&wire, &chunks), &by_byte);
            Ok(())
        })
        .expect("the same events, however the bytes come");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn a_damaged_stream_never_panics_and_ends_in_a_clear_error(
        at in any::<prop::sample::Index>(),
        damage in prop::collection::vec(any::<u8>(), 1..8),
    ) {
        static WIRE: std::sync::OnceLock<Vec<u8>> = std::sync::OnceLock::new();
        let mut wire = WIRE.get_or_init(|| recorded().concat()).clone();
        // Most of the wire is payload: aim at the frames.
        let at = at.index(1200.min(wire.len() - damage.len()));
        wire[at..at + damage.len()].copy_from_slice(&damage);
        let mut server = Connection::server(ServerConfig::new("hub"));
        let mut input = BytesMut::new();
        for chunk in wire.chunks(97) {
            input.extend_from_slice(chunk);
            if let Err(error) = server.receive(&mut input) {
                prop_assert!(!error.to_string().is_empty());
                prop_assert!(server.is_closed());
                return Ok(());
            }
            while let Some(event) = server.next_event() {
                if let Event::AttachRequested { link, attach } = event {
                    server.accept_attach(link, AttachReply::echo(&attach));
                    server.grant_credit(link, 100);
                }
            }
        }
    }

    #[test]
    fn any_performatives_in_any_order_never_panic(
        frames in prop::collection::vec((0..3u16, crate::performative::strategies::performative()), 1..12),
        client in any::<bool>(),
    ) {
        let (mut pair, channel) = Pair::open();
        let (_, _) = pair.sender(channel, "a", 5);
        let (_, _) = pair.receiver(channel, "b", 5);
        let mut wire = BytesMut::new();
        for (channel, performative) in frames {
            crate::frame::put(&mut wire, crate::frame::AMQP, channel, |out| performative.encode(out));
        }
        let victim = if client { &mut pair.client } else { &mut pair.server };
        let _ = victim.receive(&mut wire);
        while victim.next_event().is_some() {}
    }
}

#[test]
fn the_peer_is_told_what_it_did_wrong() {
    let (mut pair, _) = Pair::open();
    crate::frame::put(&mut pair.to_server, crate::frame::AMQP, 0, |out| out.extend_from_slice(b"\x00\x53\x99\x45"));
    let error = pair.try_run().expect_err("no performative");
    assert_eq!(error.to_string(), "a frame cannot be decoded: 0x99 is no performative");
    pair.run();
    let [Event::Closed { error: Some(told) }] = &pair.client_events[..] else { panic!("{:?}", pair.client_events) };
    assert_eq!(told.condition, condition::DECODE_ERROR);
}

#[test]
fn frames_where_none_belong_are_errors_with_a_name() {
    let wrong = |channel: u16, body: &[u8], kind: u8| {
        let (mut pair, _) = Pair::open();
        crate::frame::put(&mut pair.to_server, kind, channel, |out| out.extend_from_slice(body));
        pair.try_run().expect_err("an error")
    };
    let flow = b"\x00\x53\x13\xc0\x05\x04\x40\x43\x43\x43";
    assert_eq!(wrong(9, flow, 0), ProtocolError::Channel(9));
    let begin = b"\x00\x53\x11\xc0\x05\x04\x40\x43\x43\x43";
    assert_eq!(wrong(0, begin, 0), ProtocolError::ChannelInUse(0));
    assert_eq!(wrong(9000, begin, 0), ProtocolError::Channel(9000));
    assert_eq!(wrong(0, flow, 1).to_string(), "a frame of this type was not expected here");
    let open = b"\x00\x53\x10\xc0\x04\x01\xa1\x01x";
    assert_eq!(wrong(0, open, 0).to_string(), "a second open was not expected here");
    let transfer = b"\x00\x53\x14\xc0\x06\x04\x52\x07\x43\x40\x43";
    assert_eq!(wrong(0, transfer, 0), ProtocolError::Handle(7));
    let attach = b"\x00\x53\x12\xc0\x0a\x03\xa1\x01n\x70\x00\x04\x00\x00\x42";
    assert_eq!(wrong(0, attach, 0), ProtocolError::Handle(0x0004_0000));
}

#[test]
fn empty_frames_are_heartbeats_on_any_channel() {
    let (mut pair, _) = Pair::open();
    crate::frame::put(&mut pair.to_server, crate::frame::AMQP, 77, |_| {});
    pair.run();
    assert!(pair.server_events.is_empty());
}

#[test]
fn nothing_is_read_after_the_close() {
    let (mut pair, _) = Pair::open();
    pair.client.close(None);
    pair.run();
    pair.to_server.extend_from_slice(b"garbage after the close");
    pair.run();
    assert!(pair.to_server.is_empty());
}
