use proptest::prelude::*;

use super::*;

fn place() -> Place {
    Place { offset: Offset::from_raw(7), epoch: Epoch::from_raw(3 << 32), batch: 2, link: 5 }
}

fn draft() -> Draft {
    Draft {
        kind: Kind::Command,
        received_at: Timestamp::from_millis(-5),
        device: Some("abc".parse().unwrap()),
        only_for: Some("def".parse().unwrap()),
        message: Message {
            topic: "devices/abc/signals/ä".into(),
            payload: Bytes::from((0..=255).collect::<Vec<u8>>()),
            qos: Qos::ExactlyOnce,
            retain: true,
            content_type: Some(String::new()),
            user_properties: vec![("a".into(), "b".into()), ("a".into(), String::new())],
        },
        note: Bytes::from_static(b"note"),
    }
}

fn encoded(draft: &Draft) -> Vec<u8> {
    let mut out = Vec::new();
    encode(&mut out, place(), draft);
    assert_eq!(out.len() as u64, size(draft).unwrap());
    out
}

fn parsed(bytes: &[u8]) -> Option<Frame> {
    match parse(&Bytes::copy_from_slice(bytes)) {
        Parsed::Frame(frame) => Some(frame),
        _ => None,
    }
}

#[test]
fn a_record_is_read_back_whole() {
    let frame = parsed(&encoded(&draft())).unwrap();
    assert_eq!(frame.place, place());
    assert_eq!(frame.device(), draft().device);
    let record = frame.record().unwrap().unwrap();
    assert_eq!((record.offset, record.epoch), (place().offset, place().epoch));
    assert_eq!(record.draft, draft());
}

#[test]
fn every_changed_bit_is_noticed() {
    let bytes = encoded(&draft());
    let length = PREFIX + u32::from_le_bytes(bytes[..4].try_into().unwrap()) as usize;
    for at in 0..length * 8 {
        let mut bytes = bytes.clone();
        bytes[at / 8] ^= 1 << (at % 8);
        assert!(parsed(&bytes).is_none(), "bit {at}");
    }
}

#[test]
fn an_unknown_kind_is_a_good_frame_without_a_record() {
    let mut bytes = encoded(&draft());
    bytes[PREFIX + 1] = 99;
    reseal(&mut bytes);
    assert_eq!(parsed(&bytes).unwrap().record(), Ok(None));
}

#[test]
fn a_newer_version_is_named() {
    let mut bytes = encoded(&draft());
    bytes[PREFIX] = 9;
    reseal(&mut bytes);
    assert!(matches!(parse(&Bytes::from(bytes)), Parsed::Newer(Newer { found: 9 })));
}

#[test]
fn a_draft_that_no_frame_can_hold_is_refused_with_its_size() {
    let mut long = draft();
    long.message.topic = "x".repeat(65536);
    assert_eq!(size(&long), Err(TooLarge { bytes: 65536, limit: 65535 }));
    let mut big = draft();
    big.message.payload = Bytes::from(vec![0; 16 << 20]);
    assert!(size(&big).unwrap_err().bytes > MAX_FRAME);
}

/// Gives changed bytes a right checksum.
fn reseal(bytes: &mut [u8]) {
    let length = u32::from_le_bytes(bytes[..4].try_into().unwrap()) as usize;
    let crc = checksum(bytes[..4].try_into().unwrap(), &bytes[PREFIX..PREFIX + length]);
    bytes[4..8].copy_from_slice(&crc.to_le_bytes());
}

proptest! {
    #[test]
    fn no_bytes_make_the_reader_panic(mut bytes in proptest::collection::vec(any::<u8>(), 0..300), sealed: bool) {
        if sealed && bytes.len() > PREFIX + MIN_BODY {
            let length = u32::try_from(bytes.len() - PREFIX).unwrap();
            bytes[..4].copy_from_slice(&length.to_le_bytes());
            bytes[PREFIX] = 1;
            reseal(&mut bytes);
        }
        if let Parsed::Frame(frame) = parse(&Bytes::from(bytes)) {
            let _ = (frame.record(), frame.device());
        }
    }
}
