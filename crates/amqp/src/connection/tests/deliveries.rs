use super::*;
use crate::performative::Modified;

fn ids(events: &[Event]) -> Vec<DeliveryId> {
    events
        .iter()
        .filter_map(|event| match event {
            Event::Delivery { delivery, .. } => Some(delivery.id),
            _ => None,
        })
        .collect()
}

#[test]
fn a_message_arrives_whole_and_its_outcome_comes_back() {
    let (mut pair, channel) = Pair::open();
    let (ours, theirs) = pair.sender(channel, "a", 10);
    let id = pair.client.send(ours, Delivery { message_format: 7, ..message(b"hello") }).expect("credit");
    pair.run();
    let events = pair.take_server_events();
    let [Event::Delivery { link, delivery }] = &events[..] else { panic!("{events:?}") };
    assert_eq!(*link, theirs);
    assert_eq!((&delivery.tag[..], delivery.message_format, &delivery.payload[..]), (&b"tag"[..], 7, &b"hello"[..]));
    assert!(!delivery.settled);
    pair.server.settle(theirs, delivery.id, delivery.id, Outcome::Accepted);
    pair.run();
    let events = pair.take_client_events();
    let [Event::Settled { link, first, last, outcome: Outcome::Accepted }] = &events[..] else { panic!("{events:?}") };
    assert_eq!((*link, *first, *last), (ours, id, id));
}

#[test]
fn every_outcome_comes_back_with_what_it_says() {
    let (mut pair, channel) = Pair::open();
    let (ours, theirs) = pair.sender(channel, "a", 10);
    let error = Error::new(condition::MESSAGE_SIZE_EXCEEDED, "too large");
    for outcome in [
        Outcome::Accepted,
        Outcome::Released,
        Outcome::Rejected(Some(Box::new(error))),
        Outcome::Rejected(None),
        Outcome::Modified(Box::new(Modified { delivery_failed: true, ..Modified::default() })),
    ] {
        let id = pair.client.send(ours, message(b"x")).expect("credit");
        pair.run();
        pair.server.settle(theirs, id, id, outcome.clone());
        pair.run();
        let events = pair.take_client_events();
        assert!(matches!(&events[..], [Event::Settled { outcome: told, .. }] if *told == outcome), "{events:?}");
    }
}

#[test]
fn one_disposition_over_many_links_is_told_to_each() {
    let (mut pair, channel) = Pair::open();
    let (a, theirs) = pair.sender(channel, "a", 10);
    let (b, _) = pair.sender(channel, "b", 10);
    let order = [a, a, b, a, b, b];
    let sent: Vec<_> = order.iter().map(|link| pair.client.send(*link, message(b"x")).expect("credit")).collect();
    pair.run();
    pair.server.settle(theirs, sent[0], sent[5], Outcome::Accepted);
    pair.run();
    let told: Vec<_> = pair
        .take_client_events()
        .into_iter()
        .map(|event| match event {
            Event::Settled { link, first, last, .. } => (link, first, last),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(told, [(a, 0, 1), (b, 2, 2), (a, 3, 3), (b, 4, 5)]);
}

#[test]
fn credit_bounds_what_is_sent_and_comes_back_with_a_flow() {
    let (mut pair, channel) = Pair::open();
    let (ours, theirs) = pair.sender(channel, "a", 2);
    pair.client.send(ours, message(b"1")).expect("credit");
    pair.client.send(ours, message(b"2")).expect("credit");
    assert_eq!(pair.client.send(ours, message(b"3")), Err(SendRefused::NoCredit));
    // The receiver grants before it has seen either: what is on its way counts.
    pair.server.grant_credit(theirs, 2);
    pair.to_client.unsplit(pair.server.output().split());
    pair.client.receive(&mut pair.to_client).expect("a flow");
    assert_eq!(pair.client.credit(ours), 0);
    pair.run();
    pair.server.grant_credit(theirs, 5);
    pair.run();
    assert_eq!(pair.client.credit(ours), 5);
    let events = pair.take_client_events();
    assert!(matches!(events.last(), Some(Event::Credit { credit: 5, .. })), "{events:?}");
}

#[test]
fn sending_beyond_the_credit_costs_the_link() {
    let (mut pair, channel) = Pair::open();
    let (ours, _) = pair.sender(channel, "a", 1);
    pair.client.session(channel).expect("a session").0.link(ours).expect("a link").credit = 2;
    pair.client.send(ours, message(b"1")).expect("credit");
    pair.client.send(ours, message(b"2")).expect("more than was granted");
    pair.run();
    let events = pair.take_server_events();
    let [Event::Delivery { .. }, Event::Detached { error: Some(error), .. }] = &events[..] else {
        panic!("{events:?}")
    };
    assert_eq!(error.condition, condition::TRANSFER_LIMIT_EXCEEDED);
    let events = pair.take_client_events();
    assert!(matches!(&events[..], [Event::Detached { error: Some(_), .. }]), "{events:?}");
}

#[test]
fn a_large_message_is_cut_to_the_peers_frames_and_put_together_again() {
    let server = Settings { max_frame_size: 512, ..Settings::default() };
    let (mut pair, channel) = Pair::open_with(Settings::default(), server);
    let (ours, _) = pair.sender(channel, "a", 10);
    let payload: Vec<u8> = (0..200_000u32).map(|n| n.to_le_bytes()[0]).collect();
    pair.client.send(ours, message(&payload)).expect("credit");
    pair.client.send(ours, message(b"next")).expect("credit");
    pair.run();
    assert_eq!(payloads(&pair.server_events), [&payload[..], b"next"]);
}

#[test]
fn messages_of_many_links_may_be_cut_at_once() {
    let small = Settings { max_frame_size: 512, incoming_window: 10, ..Settings::default() };
    let (mut pair, channel) = Pair::open_with(small.clone(), small);
    let (_, a) = pair.receiver(channel, "a", 10);
    let (_, b) = pair.receiver(channel, "b", 10);
    let large = vec![7; 20_000];
    pair.server.send(a, message(&large)).expect("credit");
    assert_eq!(pair.server.send(b, message(b"b")), Err(SendRefused::NoWindow));
    pair.run();
    assert!(matches!(pair.take_server_events()[..], [Event::Window { .. }]));
    pair.server.send(b, message(b"b")).expect("window");
    pair.run();
    assert_eq!(payloads(&pair.client_events), [&large[..], b"b"]);
}

#[test]
fn the_window_holds_back_what_the_peer_cannot_take() {
    let server = Settings { incoming_window: 4, ..Settings::default() };
    let (mut pair, channel) = Pair::open_with(Settings::default(), server);
    let (ours, _) = pair.sender(channel, "a", 100);
    for _ in 0..4 {
        pair.client.send(ours, message(b"x")).expect("window");
    }
    assert_eq!(pair.client.send(ours, message(b"x")), Err(SendRefused::NoWindow));
    pair.run();
    assert_eq!(payloads(&pair.server_events).len(), 4);
    let events = pair.take_client_events();
    assert!(events.iter().any(|event| matches!(event, Event::Window { .. })), "{events:?}");
    pair.client.send(ours, message(b"x")).expect("window again");
}

#[test]
fn what_the_peer_would_refuse_for_its_size_is_not_sent() {
    let (mut pair, channel) = Pair::open();
    let ours = pair.client.attach(channel, AttachRequest::sender("a", "node")).expect("open");
    let theirs = pair.accept(Some(10));
    pair.server.grant_credit(theirs, 10);
    pair.run();
    let refused = pair.client.send(ours, message(&[0; 11]));
    assert_eq!(refused, Err(SendRefused::TooLarge { size: 11, limit: 10 }));
    assert_eq!(pair.client.credit(ours), 10);
    pair.client.send(ours, message(&[0; 10])).expect("small enough");
    let tag = [0; 33];
    assert_eq!(pair.client.send(ours, Delivery { tag: &tag, ..message(b"x") }), Err(SendRefused::Tag(33)));
}

#[test]
fn a_message_larger_than_we_take_costs_the_link_and_no_memory() {
    let (mut pair, channel) = Pair::open();
    let ours = pair.client.attach(channel, AttachRequest::sender("a", "node")).expect("open");
    let theirs = pair.accept(Some(100_000));
    pair.server.grant_credit(theirs, 10);
    pair.run();
    pair.client.session(channel).expect("a session").0.link(ours).expect("a link").max_message_size = 0;
    pair.client.send(ours, message(&vec![0; 300_000])).expect("credit");
    pair.run();
    let events = pair.take_server_events();
    let [Event::Detached { error: Some(error), .. }] = &events[..] else { panic!("{events:?}") };
    assert_eq!(error.condition, condition::MESSAGE_SIZE_EXCEEDED);
    assert!(pair.server.is_open());
    pair.sender(channel, "b", 1);
}

#[test]
fn what_is_sent_settled_needs_no_answer() {
    let (mut pair, channel) = Pair::open();
    let (ours, _) = pair.sender(channel, "a", 10);
    pair.client.send(ours, Delivery { settled: true, ..message(b"x") }).expect("credit");
    pair.run();
    assert!(matches!(&pair.server_events[..], [Event::Delivery { delivery, .. }] if delivery.settled));
    pair.client.send(ours, message(b"y")).expect("credit");
    pair.run();
    assert_eq!(ids(&pair.server_events), [0, 1]);
}

#[test]
fn a_disposition_leaves_before_the_answer_that_was_sent_after_it() {
    // uamqp crashes when the answer on $cbs overtakes the disposition of the request.
    let (mut pair, channel) = Pair::open();
    let (ours, request) = pair.sender(channel, "to", 10);
    let (_, answer) = pair.receiver(channel, "back", 10);
    let id = pair.client.send(ours, message(b"put-token")).expect("credit");
    pair.run();
    pair.server.settle(request, id, id, Outcome::Accepted);
    pair.server.send(answer, message(b"200")).expect("credit");
    pair.run();
    let events = pair.take_client_events();
    assert!(matches!(events[..], [Event::Settled { .. }, Event::Delivery { .. }]), "{events:?}");
}

#[test]
fn a_receiver_that_waits_for_our_settlement_gets_it() {
    // rcv-settle-mode "second": the first disposition is not settled.
    let (mut pair, channel) = Pair::open();
    let (ours, _) = pair.sender(channel, "a", 10);
    let id = pair.client.send(ours, message(b"x")).expect("credit");
    pair.run();
    let disposition = Disposition {
        role: Role::Receiver,
        first: id,
        last: None,
        settled: false,
        state: Some(DeliveryState::Outcome(Outcome::Accepted)),
        batchable: false,
    };
    pair.server.io.frame(0, |out| disposition.encode(out));
    pair.to_client.unsplit(pair.server.output().split());
    pair.client.receive(&mut pair.to_client).expect("a disposition");
    assert!(matches!(pair.client.next_event(), Some(Event::Settled { outcome: Outcome::Accepted, .. })));
    assert!(!pair.client.output().is_empty(), "our settlement");
    pair.run();
}

#[test]
fn a_link_that_confirms_later_settles_once_and_only_when_told_to() {
    let (mut pair, channel) = Pair::open();
    let ours = pair.client.attach(channel, AttachRequest::receiver("a", Source::at("node"))).expect("open");
    pair.run();
    let (theirs, attach) = pair.requested();
    pair.server.accept_attach(theirs, AttachReply { confirms_later: true, ..AttachReply::echo(&attach) });
    pair.run();
    pair.client.grant_credit(ours, 10);
    pair.run();
    let ids: Vec<_> = (0..3).map(|_| pair.server.send(theirs, message(b"x")).expect("credit")).collect();
    pair.run();
    pair.take_server_events();
    let told = |pair: &mut Pair, first, last, settled| {
        let state = Some(DeliveryState::Outcome(Outcome::Accepted));
        let disposition =
            Disposition { role: Role::Receiver, first, last: Some(last), settled, state, batchable: false };
        pair.client.io.frame(0, |out| disposition.encode(out));
        pair.to_server.unsplit(pair.client.output().split());
        pair.server.receive(&mut pair.to_server).expect("a disposition");
        assert!(matches!(pair.server.next_event(), Some(Event::Settled { .. })));
        assert!(pair.server.output().is_empty(), "nothing is confirmed yet");
    };
    told(&mut pair, ids[0], ids[1], false);
    told(&mut pair, ids[2], ids[2], true);
    let confirmed = |pair: &mut Pair, id| {
        pair.server.confirm(theirs, id, Outcome::Rejected(None));
        !pair.server.output().split().is_empty()
    };
    assert!(confirmed(&mut pair, ids[1]) && confirmed(&mut pair, ids[0]));
    assert!(!confirmed(&mut pair, ids[0]), "once");
    assert!(!confirmed(&mut pair, ids[2]), "the peer has settled that one itself");
}

#[test]
fn a_settlement_without_outcome_counts_as_released() {
    let (mut pair, channel) = Pair::open();
    let (ours, _) = pair.sender(channel, "a", 10);
    let id = pair.client.send(ours, message(b"x")).expect("credit");
    let (role, last) = (Role::Receiver, None);
    let bare = Disposition { role, first: id, last, settled: true, state: None, batchable: false };
    pair.run();
    pair.server.io.frame(0, |out| bare.encode(out));
    pair.run();
    let events = pair.take_client_events();
    assert!(matches!(events[..], [Event::Settled { outcome: Outcome::Released, .. }]), "{events:?}");
}

#[test]
fn an_abandoned_delivery_is_not_heard_of_again() {
    let (mut pair, channel) = Pair::open();
    let (ours, theirs) = pair.sender(channel, "a", 10);
    let first = pair.client.send(ours, message(b"1")).expect("credit");
    let second = pair.client.send(ours, message(b"2")).expect("credit");
    pair.client.abandon(ours, first);
    pair.run();
    pair.server.settle(theirs, first, second, Outcome::Accepted);
    pair.run();
    let events = pair.take_client_events();
    let [Event::Settled { first: told, last, .. }] = &events[..] else { panic!("{events:?}") };
    assert_eq!((*told, *last), (second, second));
}

#[test]
fn deliveries_of_a_link_that_is_gone_are_forgotten() {
    let (mut pair, channel) = Pair::open();
    let (ours, theirs) = pair.sender(channel, "a", 10);
    let id = pair.client.send(ours, message(b"1")).expect("credit");
    pair.run();
    pair.server.detach(theirs, None);
    pair.server.settle(theirs, id, id, Outcome::Accepted);
    pair.run();
    let events = pair.take_client_events();
    assert!(matches!(events[..], [Event::Detached { .. }]), "{events:?}");
}

#[test]
fn a_drained_sender_gives_its_credit_back() {
    let (mut pair, channel) = Pair::open();
    let (ours, theirs) = pair.receiver(channel, "a", 10);
    let drain = Flow {
        next_incoming_id: Some(0),
        incoming_window: 100,
        outgoing_window: 100,
        handle: Some(ours.handle),
        delivery_count: Some(0),
        link_credit: Some(10),
        drain: true,
        ..Flow::default()
    };
    pair.client.io.frame(channel.0, |out| drain.encode(out));
    pair.run();
    let events = pair.take_server_events();
    assert!(matches!(events[..], [Event::Credit { credit: 10, drain: true, .. }]), "{events:?}");
    pair.server.drained(theirs);
    pair.run();
    assert_eq!(pair.server.credit(theirs), 0);
    assert_eq!(pair.client.credit(ours), 0);
    pair.client.grant_credit(ours, 3);
    pair.run();
    assert_eq!(pair.server.credit(theirs), 3);
}

#[test]
fn an_aborted_delivery_leaves_nothing() {
    let (mut pair, channel) = Pair::open();
    let (ours, _) = pair.sender(channel, "a", 10);
    let transfer = |more, aborted| crate::performative::Transfer {
        handle: ours.handle,
        delivery_id: Some(0),
        delivery_tag: Some(bytes::Bytes::from_static(b"t")),
        more,
        aborted,
        ..Default::default()
    };
    pair.client.io.frame(channel.0, |out| {
        transfer(true, false).encode(out);
        out.extend_from_slice(b"half a mess");
    });
    pair.client.io.frame(channel.0, |out| transfer(false, true).encode(out));
    pair.run();
    assert!(pair.take_server_events().is_empty());
}
