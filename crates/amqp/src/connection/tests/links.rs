use super::*;
use crate::performative::{Role, Target};
use crate::types::Value;

#[test]
fn an_attach_is_answered_with_what_was_asked() {
    let (mut pair, channel) = Pair::open();
    let mut request = AttachRequest::sender("d2c", "/devices/dev1/messages/events");
    request.properties = vec![("com.microsoft:client-version".into(), "1".into())];
    let ours = pair.client.attach(channel, request).expect("open");
    pair.run();
    let (theirs, attach) = pair.requested();
    assert_eq!(attach.role, Role::Sender);
    assert_eq!(attach.target.as_ref().and_then(|t| t.address.as_deref()), Some("/devices/dev1/messages/events"));
    pair.server.accept_attach(theirs, AttachReply::echo(&attach));
    pair.server.grant_credit(theirs, 10);
    pair.run();
    let events = pair.take_client_events();
    let [Event::Attached { link, attach }, Event::Credit { credit: 10, drain: false, .. }] = &events[..] else {
        panic!("{events:?}")
    };
    assert_eq!(*link, ours);
    assert_eq!(attach.max_message_size, Some(1_048_576));
    assert_eq!(attach.properties, [("com.microsoft:client-version".into(), Value::from("1"))]);
    assert_eq!(pair.client.credit(ours), 10);
}

#[test]
fn a_refusal_is_heard_as_detached_alone() {
    let (mut pair, channel) = Pair::open();
    for request in [AttachRequest::sender("s", "nowhere"), AttachRequest::receiver("r", Source::at("nowhere"))] {
        let ours = pair.client.attach(channel, request).expect("open");
        pair.run();
        let (theirs, _) = pair.requested();
        pair.server.refuse_attach(theirs, Error::new(condition::NOT_FOUND, "no such device"));
        pair.run();
        let events = pair.take_client_events();
        let [Event::Detached { link, error: Some(error), closed: true }] = &events[..] else { panic!("{events:?}") };
        assert_eq!((*link, error.condition.as_str()), (ours, "amqp:not-found"));
        assert!(pair.take_server_events().is_empty(), "who refuses hears no more of it");
    }
}

#[test]
fn nodes_links_without_terminus_are_taken() {
    let (mut pair, channel) = Pair::open();
    let mut request = AttachRequest::sender("s", "$cbs");
    request.source = None;
    pair.client.attach(channel, request).expect("open");
    pair.accept(None);
    assert!(matches!(pair.take_client_events()[..], [Event::Attached { .. }]));
}

#[test]
fn one_name_may_serve_both_directions() {
    // .NET names both links to $cbs alike.
    let (mut pair, channel) = Pair::open();
    let out = pair.client.attach(channel, AttachRequest::sender("cbs", "$cbs")).expect("open");
    let back = pair.client.attach(channel, AttachRequest::receiver("cbs", Source::at("$cbs"))).expect("open");
    pair.run();
    for event in pair.take_server_events() {
        let Event::AttachRequested { link, attach } = event else { panic!("{event:?}") };
        pair.server.accept_attach(link, AttachReply::echo(&attach));
    }
    pair.run();
    let events = pair.take_client_events();
    let attached: Vec<_> = events
        .iter()
        .map(|event| match event {
            Event::Attached { link, .. } => *link,
            _ => panic!("{event:?}"),
        })
        .collect();
    assert_eq!(attached, [out, back]);
}

#[test]
fn a_detach_is_confirmed_to_who_asked_and_told_to_the_other() {
    let (mut pair, channel) = Pair::open();
    let (ours, theirs) = pair.sender(channel, "a", 1);
    pair.client.detach(ours, None);
    pair.run();
    let told = |events: Vec<Event>| match &events[..] {
        [Event::Detached { link, error, closed: true }] => (*link, error.clone()),
        _ => panic!("{events:?}"),
    };
    assert_eq!(told(pair.take_client_events()), (ours, None));
    assert_eq!(told(pair.take_server_events()), (theirs, None));
    // The other way round, with a reason.
    let (ours, theirs) = pair.sender(channel, "a", 1);
    pair.server.detach(theirs, Some(Error::new(condition::LINK_STOLEN, "another client")));
    pair.run();
    let (link, error) = told(pair.take_client_events());
    assert_eq!((link, error.expect("a reason").condition.as_str()), (ours, "amqp:link:stolen"));
    assert_eq!(told(pair.take_server_events()).0, theirs);
}

#[test]
fn both_may_detach_at_once() {
    let (mut pair, channel) = Pair::open();
    let (ours, theirs) = pair.sender(channel, "a", 1);
    pair.client.detach(ours, None);
    pair.server.detach(theirs, None);
    pair.run();
    assert_eq!(pair.take_client_events().len(), 1);
    assert_eq!(pair.take_server_events().len(), 1);
    pair.sender(channel, "a", 1);
}

#[test]
fn a_stale_reference_never_reaches_the_link_that_took_its_handle() {
    let (mut pair, channel) = Pair::open();
    let (old, _) = pair.sender(channel, "device-a", 5);
    pair.client.detach(old, None);
    pair.run();
    let (new, _) = pair.sender(channel, "device-b", 5);
    assert_eq!(old.handle, new.handle, "the handle is used again");
    assert_ne!(old, new);
    assert_eq!(pair.client.send(old, message(b"a's")), Err(SendRefused::Closed));
    assert_eq!(pair.client.credit(old), 0);
    pair.client.detach(old, None);
    pair.take_server_events();
    pair.run();
    assert!(pair.take_server_events().is_empty());
    assert_eq!(pair.client.credit(new), 5);
}

#[test]
fn a_link_given_up_before_its_answer_comes_is_closed_in_order() {
    let (mut pair, channel) = Pair::open();
    let ours = pair.client.attach(channel, AttachRequest::sender("a", "node")).expect("open");
    pair.client.detach(ours, None);
    pair.run();
    let events = pair.take_server_events();
    let [Event::AttachRequested { .. }, Event::Detached { link, .. }] = &events[..] else { panic!("{events:?}") };
    pair.server.accept_attach(*link, AttachReply::echo(&any_attach()));
    pair.run();
    assert!(pair.client.is_open() && pair.server.is_open());
}

fn any_attach() -> Attach {
    Attach {
        name: "x".into(),
        handle: 0,
        role: Role::Sender,
        snd_settle_mode: Default::default(),
        rcv_settle_mode: Default::default(),
        source: Some(Source::default()),
        target: Some(Target::default()),
        initial_delivery_count: Some(0),
        max_message_size: None,
        offered_capabilities: Vec::new(),
        desired_capabilities: Vec::new(),
        properties: Vec::new(),
    }
}

#[test]
fn sessions_begin_and_end_from_either_side() {
    let (mut pair, channel) = Pair::open();
    let (link, _) = pair.sender(channel, "a", 1);
    pair.client.end(channel, Some(Error::bare(condition::INTERNAL_ERROR)));
    pair.run();
    let server_events = pair.take_server_events();
    assert!(matches!(server_events[..], [Event::Ended { error: Some(_), .. }]), "{server_events:?}");
    assert!(matches!(pair.take_client_events()[..], [Event::Ended { error: None, .. }]));
    assert_eq!(pair.client.send(link, message(b"x")), Err(SendRefused::Closed));
    let again = pair.client.begin().expect("open");
    pair.run();
    assert!(matches!(pair.take_server_events()[..], [Event::Begun { .. }]));
    pair.take_client_events();
    pair.sender(again, "a", 1);
    let by_server = pair.server.begin().expect("open");
    pair.run();
    assert!(matches!(pair.take_client_events()[..], [Event::Begun { .. }]));
    pair.server.end(by_server, None);
    pair.run();
    assert!(matches!(pair.take_client_events()[..], [Event::Ended { .. }]));
}

#[test]
fn a_detach_after_the_end_is_ignored() {
    // pyamqp ends its AMQP session, then detaches the links of it, then closes.
    let (mut pair, channel) = Pair::open();
    pair.sender(channel, "a", 1);
    pair.take_server_events();
    pair.client.end(channel, None);
    let detach = crate::performative::Detach { handle: 0, closed: true, error: None };
    pair.client.io.frame(channel.0, |out| detach.encode(out));
    pair.client.close(None);
    pair.run();
    let events = pair.take_server_events();
    assert!(matches!(events[..], [Event::Ended { .. }, Event::Closed { error: None }]), "{events:?}");
}

#[test]
fn there_are_no_more_sessions_or_links_than_the_peer_allows() {
    let server = Settings { channel_max: 1, handle_max: 2, ..Settings::default() };
    let (mut pair, channel) = Pair::open_with(Settings::default(), server);
    pair.client.begin().expect("the second");
    assert_eq!(pair.client.begin(), Err(Closed::Exhausted(2)));
    for name in ["a", "b", "c"] {
        pair.client.attach(channel, AttachRequest::sender(name, "node")).expect("allowed");
    }
    let refused = pair.client.attach(channel, AttachRequest::sender("d", "node"));
    assert_eq!(refused, Err(Closed::Exhausted(3)));
    pair.run();
}

#[test]
fn three_thousand_links_stay_small() {
    let (mut pair, channel) = Pair::open();
    let links: Vec<_> = (0..3000)
        .map(|n| {
            let name = format!("d2c-device-{n}");
            pair.client.attach(channel, AttachRequest::sender(name, format!("/devices/{n}"))).expect("open")
        })
        .collect();
    pair.run();
    for event in pair.take_server_events() {
        let Event::AttachRequested { link, attach } = event else { panic!("{event:?}") };
        pair.server.accept_attach(link, AttachReply::echo(&attach));
        pair.server.grant_credit(link, 100);
    }
    pair.run();
    assert!(links.iter().all(|link| pair.client.credit(*link) == 100));
    assert!(std::mem::size_of::<link::Link>() <= 160, "a link takes {} bytes", std::mem::size_of::<link::Link>());
    assert!(std::mem::size_of::<Event>() <= 144, "an event takes {} bytes", std::mem::size_of::<Event>());
}
