use bytes::BufMut;
use proptest::prelude::*;

use super::*;
use crate::types::{Fields, Symbol, Text, Value};

fn encoded(performative: &Performative) -> BytesMut {
    let mut out = BytesMut::new();
    performative.encode(&mut out);
    out
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn a_performative_is_read_as_it_was_written(performative in strategies::performative()) {
        let body = encoded(&performative).freeze();
        prop_assert_eq!(Performative::decode(&body), Ok((performative, Bytes::new())));
    }

    #[test]
    fn no_bytes_make_the_performative_decoder_panic(
        code in 0x10..=0x18u8,
        rest in prop::collection::vec(any::<u8>(), 0..200),
    ) {
        let mut body = BytesMut::from(&[0x00, 0x53, code][..]);
        body.put_slice(&rest);
        let _ = Performative::decode(&body.freeze());
    }
}

/// The number of fields in the list of an encoded performative.
fn fields(body: &[u8]) -> u32 {
    match body[3] {
        0xc0 => body[5].into(),
        0xd0 => u32::from_be_bytes([body[8], body[9], body[10], body[11]]),
        0x45 => 0,
        other => panic!("no list: 0x{other:02x}"),
    }
}

#[test]
fn every_performative_has_its_full_length() {
    // pyamqp indexes the fields of a performative without looking how many came.
    let error = || Some(Box::new(Error::bare(condition::NOT_FOUND)));
    let attach = Attach {
        name: Text::from("a"),
        handle: 0,
        role: Role::Sender,
        snd_settle_mode: SenderSettleMode::Mixed,
        rcv_settle_mode: ReceiverSettleMode::First,
        source: Some(Source::default()),
        target: Some(Target::default()),
        initial_delivery_count: None,
        max_message_size: None,
        offered_capabilities: Vec::new(),
        desired_capabilities: Vec::new(),
        properties: Fields::new(),
    };
    let disposition =
        Disposition { role: Role::Sender, first: 0, last: None, settled: true, state: None, batchable: false };
    for (performative, expected) in [
        (Performative::Open(Box::default()), 10),
        (Performative::Begin(Box::default()), 8),
        (Performative::Attach(Box::new(attach)), 14),
        (Performative::Flow(Flow::default()), 11),
        (Performative::Transfer(Transfer::default()), 11),
        (Performative::Disposition(disposition), 6),
        (Performative::Detach(Detach::default()), 3),
        (Performative::End(End { error: error() }), 1),
        (Performative::Close(Close { error: error() }), 1),
    ] {
        assert_eq!(fields(&encoded(&performative)), expected, "{performative:?}");
    }
    let close = encoded(&Performative::Close(Close { error: error() }));
    assert_eq!(fields(&close[6..]), 3, "an error has three fields");
}

#[test]
fn fields_left_off_at_the_end_read_as_null() {
    // Node's open: container-id and hostname alone.
    let body = Bytes::from_static(&[0x00, 0x53, 0x10, 0xc0, 7, 2, 0xa1, 1, b'c', 0xa1, 1, b'h']);
    let (Performative::Open(open), _) = Performative::decode(&body).expect("an open") else { panic!("open") };
    assert_eq!((open.max_frame_size, open.channel_max, open.idle_time_out), (u32::MAX, u16::MAX, None));
}

#[test]
fn a_transfer_leaves_its_payload() {
    let mut body = encoded(&Performative::Transfer(Transfer { handle: 3, ..Transfer::default() }));
    body.put_slice(b"payload");
    let (performative, payload) = Performative::decode(&body.freeze()).expect("a transfer");
    assert_eq!(performative, Performative::Transfer(Transfer { handle: 3, ..Transfer::default() }));
    assert_eq!(payload, b"payload"[..]);
}

#[test]
fn fields_of_later_versions_are_ignored() {
    let body = Bytes::from_static(&[0x00, 0x53, 0x17, 0xc0, 3, 2, 0x40, 0x41]);
    assert_eq!(Performative::decode(&body), Ok((Performative::End(End { error: None }), Bytes::new())));
}

#[test]
fn a_lone_symbol_passes_where_several_may_stand() {
    let mut body = BytesMut::from(&[0x00, 0x53, 0x10, 0xc0, 17, 8, 0xa1, 1, b'c'][..]);
    body.put_slice(&[0x40, 0x40, 0x40, 0x40, 0x40, 0x40, 0xa3, 5]);
    body.put_slice(b"thing");
    body[4] = u8::try_from(body.len() - 5).expect("short");
    let (Performative::Open(open), _) = Performative::decode(&body.freeze()).expect("an open") else { panic!("open") };
    assert_eq!(open.offered_capabilities, [Symbol::from_static("thing")]);
}

#[test]
fn what_must_be_there_is_missed_by_name() {
    let body = Bytes::from_static(&[0x00, 0x53, 0x10, 0x45]);
    let missing = DecodeError::Missing { composite: "open", field: "container-id" };
    assert_eq!(Performative::decode(&body), Err(missing));
    let body = Bytes::from_static(&[0x00, 0x53, 0x10]);
    assert_eq!(Performative::decode(&body), Err(DecodeError::Truncated));
    let body = Bytes::from_static(&[0x00, 0x53, 0x99, 0x45]);
    let unknown = DecodeError::Descriptor { expected: "performative", descriptor: 0x99 };
    assert_eq!(Performative::decode(&body), Err(unknown));
}

#[test]
fn an_error_keeps_its_info() {
    let info = vec![(Symbol::from_static("port"), Value::Int(5671))];
    let error = Error::bare(condition::LINK_REDIRECT).with_info(info);
    let detach = Performative::Detach(Detach { handle: 1, closed: true, error: Some(Box::new(error)) });
    let (read, _) = Performative::decode(&encoded(&detach).freeze()).expect("a detach");
    let Performative::Detach(Detach { error: Some(read), .. }) = read else { panic!("detach with error") };
    assert_eq!(read.info("port"), Some(&Value::Int(5671)));
    assert_eq!(Error::new(condition::NOT_FOUND, "no such device").to_string(), "amqp:not-found: no such device");
}
