use super::*;
use crate::frame;

/// The real hub's sasl-mechanisms frame (Azure/azure-iot-sdks, issue 263).
const HUB_MECHANISMS: &str = "0000003f02010000005340c03201e02f04b3\
    0000000845585445524e414c000000074d53534243425300000009414e4f4e594d4f555300000005504c41494e";

/// uamqp's sasl-init.
const UAMQP_INIT: &str = "0000001702010000005341c00a01a3074d535342434253";

fn hex(text: &str) -> BytesMut {
    let digits: Vec<u8> = text.chars().filter_map(|c| c.to_digit(16)).filter_map(|n| u8::try_from(n).ok()).collect();
    digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}

#[test]
fn our_mechanisms_frame_is_the_hubs_byte_for_byte() {
    let mut out = BytesMut::new();
    let mechanisms = Mechanism::HUB.map(Mechanism::symbol).to_vec();
    frame::put(&mut out, frame::SASL, 0, |out| SaslFrame::Mechanisms(mechanisms).encode(out));
    assert_eq!(out, hex(HUB_MECHANISMS));
}

#[test]
fn the_hubs_mechanisms_are_read_in_order() {
    let frame = frame::take(&mut hex(HUB_MECHANISMS), 512).expect("a frame").expect("whole");
    let Ok(SaslFrame::Mechanisms(names)) = SaslFrame::decode(&frame.body) else { panic!("mechanisms") };
    assert!(names.iter().map(Mechanism::from_symbol).eq(Mechanism::HUB.map(Some)));
}

#[test]
fn uamqps_init_without_response_is_read() {
    let frame = frame::take(&mut hex(UAMQP_INIT), 512).expect("a frame").expect("whole");
    let Ok(SaslFrame::Init { mechanism, initial_response: None, hostname: None }) = SaslFrame::decode(&frame.body)
    else {
        panic!("init")
    };
    assert_eq!(Mechanism::from_symbol(&mechanism), Some(Mechanism::Mssbcbs));
}

#[test]
fn every_sasl_frame_is_read_as_it_was_written() {
    let frames = [
        SaslFrame::Mechanisms(vec![Symbol::from_static("PLAIN")]),
        SaslFrame::Init {
            mechanism: Symbol::from_static("PLAIN"),
            initial_response: Some(Bytes::from_static(b"\0u\0p")),
            hostname: Some(Text::from("hub")),
        },
        SaslFrame::Challenge(Bytes::from_static(b"?")),
        SaslFrame::Response(Bytes::from_static(b"!")),
        SaslFrame::Outcome(SaslCode::SysTemp),
    ];
    for frame in frames {
        let mut out = BytesMut::new();
        frame.encode(&mut out);
        assert!(SaslFrame::decode(&out.freeze()) == Ok(frame));
    }
}

#[test]
fn plain_hides_its_password_and_survives_the_wire() {
    let plain = Plain { authorization: String::new(), user: "dev1@sas.hub1".into(), password: "SharedAccess".into() };
    assert_eq!(Plain::from_response(&plain.to_response()), Some(plain.clone()));
    assert!(!format!("{plain:?}").contains("SharedAccess"));
    assert_eq!(Plain::from_response(b"no separator"), None);
    assert_eq!(Plain::from_response(b"a\0b\0c\0d"), None);
}
