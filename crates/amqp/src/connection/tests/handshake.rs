use std::time::{Duration, Instant};

use super::*;
use crate::sasl::{Mechanism, Plain, SaslCode};

fn opened(events: &[Event]) -> bool {
    events.iter().any(|event| matches!(event, Event::Opened(_)))
}

#[test]
fn both_first_headers_are_taken() {
    for sasl in [ClientSasl::None, ClientSasl::Anonymous, ClientSasl::Mssbcbs] {
        let mut pair = Pair::new(client_config(sasl.clone()), ServerConfig::new("hub"));
        pair.run();
        assert!(pair.client.is_open() && pair.server.is_open(), "{sasl:?}");
        assert!(opened(&pair.client_events) && opened(&pair.server_events));
        let open = pair.server.remote_open().expect("open");
        assert_eq!(open.hostname.as_deref(), Some("hub.azure-devices.net"));
        assert_eq!(pair.client.remote_open().expect("open").max_frame_size, 65_536);
    }
}

#[test]
fn a_client_without_sasl_begins_as_nodes_does() {
    let mut client = Connection::client(client_config(ClientSasl::None));
    assert_eq!(client.output()[..8], *b"AMQP\x00\x01\x00\x00");
    assert_eq!(client.output()[16..19], [0x00, 0x53, 0x10]);
}

#[test]
fn plain_and_external_are_for_the_user_to_judge() {
    let plain = Plain { authorization: String::new(), user: "dev1@sas.hub".into(), password: "token".into() };
    for (sasl, login) in [
        (ClientSasl::Plain(plain.clone()), Login::Plain(plain)),
        (ClientSasl::External, Login::External { identity: None }),
    ] {
        let mut pair = Pair::new(client_config(sasl), ServerConfig::new("hub"));
        pair.run();
        let [Event::Login(asked)] = &pair.server_events[..] else { panic!("{:?}", pair.server_events) };
        assert_eq!(*asked, login);
        assert!(!pair.client.is_open());
        pair.server.sasl_outcome(SaslCode::Ok);
        pair.run();
        assert!(pair.client.is_open() && pair.server.is_open());
    }
}

#[test]
fn a_refused_login_ends_the_connection() {
    let plain = Plain { authorization: String::new(), user: "u".into(), password: "p".into() };
    let mut pair = Pair::new(client_config(ClientSasl::Plain(plain)), ServerConfig::new("hub"));
    pair.run();
    pair.server.sasl_outcome(SaslCode::Auth);
    assert_eq!(pair.try_run(), Err(ProtocolError::LoginRefused(SaslCode::Auth)));
    assert!(pair.client.is_closed() && pair.server.is_closed());
}

#[test]
fn a_mechanism_that_is_not_offered_is_an_error_on_either_side() {
    let anonymous_only = ServerConfig { mechanisms: vec![Mechanism::Anonymous], ..ServerConfig::new("hub") };
    let mut pair = Pair::new(client_config(ClientSasl::Mssbcbs), anonymous_only.clone());
    let error = pair.try_run().expect_err("not offered");
    assert_eq!(error.to_string(), "the server does not offer sasl MSSBCBS, only ANONYMOUS");

    let mut server = Connection::server(anonymous_only);
    let mut input = BytesMut::from(&b"AMQP\x03\x01\x00\x00"[..]);
    input.extend_from_slice(b"\x00\x00\x00\x17\x02\x01\x00\x00\x00SA\xc0\x0a\x01\xa3\x07MSSBCBS");
    let error = server.receive(&mut input).expect_err("not offered");
    assert_eq!(error, ProtocolError::Mechanism("MSSBCBS".into()));
    assert!(server.output().ends_with(&[0x50, 1, 0x40]), "a sasl outcome with code 1");
}

#[test]
fn what_speaks_no_amqp_is_told_what_we_speak() {
    for stranger in [&b"GET / HTTP/1.1\r\n\r\n"[..], b"AMQP\x00\x00\x09\x01", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc"] {
        let mut server = Connection::server(ServerConfig::new("hub"));
        let error = server.receive(&mut BytesMut::from(stranger)).expect_err("no AMQP");
        assert!(matches!(error, ProtocolError::Header(_)));
        assert_eq!(server.output()[..], *b"AMQP\x03\x01\x00\x00");
        assert!(server.is_closed());
    }
    let bare = ServerConfig { allow_bare: false, ..ServerConfig::new("hub") };
    let mut server = Connection::server(bare);
    assert!(server.receive(&mut BytesMut::from(&b"AMQP\x00\x01\x00\x00"[..])).is_err());
}

#[test]
fn close_is_confirmed_with_its_reason() {
    let (mut pair, _) = Pair::open();
    pair.server.close(Some(Error::new(condition::CONNECTION_FORCED, "the hub restarts")));
    pair.run();
    let [Event::Closed { error: Some(error) }] = &pair.client_events[..] else { panic!("{:?}", pair.client_events) };
    assert_eq!(error.condition, condition::CONNECTION_FORCED);
    assert!(matches!(pair.server_events[..], [Event::Closed { error: None }]));
    assert!(pair.client.is_closed() && pair.server.is_closed());
    assert_eq!(pair.client.begin(), Err(Closed::NotOpen));
}

#[test]
fn a_server_may_close_in_answer_to_the_open() {
    let mut pair = Pair::new(client_config(ClientSasl::None), ServerConfig::new("hub"));
    pair.to_server.unsplit(pair.client.output().split());
    pair.server.receive(&mut pair.to_server).expect("an open");
    assert!(matches!(pair.server.next_event(), Some(Event::Opened(_))));
    pair.server.close(Some(Error::new(condition::NOT_FOUND, "no such hub")));
    pair.run();
    assert!(matches!(&pair.client_events[..], [Event::Opened(_), Event::Closed { error: Some(_) }]));
}

fn idle(seconds: u64) -> Settings {
    Settings { idle_time_out: Some(Duration::from_secs(seconds)), ..Settings::default() }
}

#[test]
fn heartbeats_keep_a_silent_connection_open() {
    let (mut pair, _) = Pair::open_with(idle(60), idle(60));
    let start = Instant::now();
    let mut now = start;
    for _ in 0..100 {
        let client = pair.client.tick(now).expect("a next time");
        let server = pair.server.tick(now).expect("a next time");
        pair.run();
        now = client.min(server).max(now + Duration::from_millis(1));
    }
    assert!(now > start + Duration::from_secs(600));
    assert!(pair.client.is_open() && pair.server.is_open());
}

#[test]
fn a_silent_peer_is_given_up_after_twice_the_time_that_was_promised() {
    let (mut pair, _) = Pair::open_with(idle(60), Settings { idle_time_out: None, ..Settings::default() });
    let start = Instant::now();
    pair.client.tick(start);
    pair.client.tick(start + Duration::from_secs(119));
    assert!(pair.client.is_open());
    pair.client.tick(start + Duration::from_secs(121));
    let event = pair.client.next_event();
    assert!(matches!(event, Some(Event::Closed { error: Some(_) })), "{event:?}");
    assert!(pair.client.is_closed());
    assert_eq!(pair.client.tick(start + Duration::from_secs(122)), None);
}

#[test]
fn an_absurd_heartbeat_is_not_obeyed() {
    let absurd = Settings { idle_time_out: Some(Duration::from_millis(1)), ..Settings::default() };
    let (mut pair, _) = Pair::open_with(Settings::default(), absurd);
    let now = Instant::now();
    pair.client.tick(now);
    let next = pair.client.tick(now).expect("a next time");
    assert!(next - now >= Duration::from_millis(10));
}
