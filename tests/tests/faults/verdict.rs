//! The verdict finds every kind of violation, and nothing where all is right.

use bytes::Bytes;
use hubward_tests::Arrivals;
use hubward_tests::events::Event;
use hubward_tests::faults::findings::{DeadLetter, GivenUp};
use hubward_tests::faults::{Allowed, Dice, Story, Violation, judge};
use serde_json::Value;

/// Three signals of a device, all acknowledged.
fn story() -> Story {
    let story = Story::default();
    for body in ["one", "two", "three"] {
        let place = story.sends("d", Bytes::from_static(body.as_bytes()));
        story.acknowledged("d", place);
    }
    story
}

fn event(device: &str, id: &str, body: &str) -> Event {
    Event {
        device_id: device.to_owned(),
        message_id: id.to_owned(),
        body: body.as_bytes().to_vec(),
        properties: Value::Null,
        system: Value::Null,
    }
}

fn at_hub(events: &[(&str, &str)]) -> Arrivals {
    Arrivals { events: events.iter().map(|(id, body)| event("d", id, body)).collect() }
}

fn complete() -> Arrivals {
    at_hub(&[("1", "one"), ("2", "two"), ("3", "three")])
}

fn letter(body: &str) -> GivenUp {
    let letter = DeadLetter { device: "d".into(), body: Bytes::from(body.to_owned()), reason: "too large".to_owned() };
    GivenUp { dead_letters: vec![letter], ..GivenUp::default() }
}

fn expired(count: u64) -> GivenUp {
    GivenUp { expired: [("d".to_owned(), count)].into(), ..GivenUp::default() }
}

fn verdict(arrivals: &Arrivals) -> Vec<Violation> {
    judge(&story(), arrivals, &GivenUp::default(), &Allowed::default())
}

#[test]
fn what_arrived_once_and_in_order_is_right() {
    assert_eq!(verdict(&complete()), []);
}

#[test]
fn repeats_with_their_message_id_are_right_and_the_last_one_counts() {
    let repeated = at_hub(&[("1", "one"), ("2", "two"), ("1", "one"), ("2", "two"), ("3", "three")]);
    assert_eq!(verdict(&repeated), []);
}

#[test]
fn an_acknowledged_signal_that_did_not_arrive_is_lost() {
    let lost = Violation::Lost { device: "d".into(), body: "two".into() };
    assert_eq!(verdict(&at_hub(&[("1", "one"), ("3", "three")])), [lost]);
}

#[test]
fn a_signal_of_unknown_fate_may_arrive_or_not() {
    let story = story();
    story.sends("d", Bytes::from_static(b"four"));
    let allowed = Allowed::default();
    assert_eq!(judge(&story, &complete(), &GivenUp::default(), &allowed), []);
    let mut arrivals = complete();
    arrivals.events.push(event("d", "4", "four"));
    assert_eq!(judge(&story, &arrivals, &GivenUp::default(), &allowed), []);
}

#[test]
fn a_dead_letter_counts_only_where_the_plan_names_it() {
    let arrivals = at_hub(&[("1", "one"), ("3", "three")]);
    let found = judge(&story(), &arrivals, &letter("two"), &Allowed::default());
    let unplanned = Violation::DeadLetter { device: "d".into(), body: "two".into(), reason: "too large".to_owned() };
    assert_eq!(found, [unplanned]);
    let planned = Allowed { dead_letters: vec!["two".to_owned()], ..Allowed::default() };
    assert_eq!(judge(&story(), &arrivals, &letter("two"), &planned), []);
}

#[test]
fn an_expiry_counts_only_where_the_plan_names_it_and_only_for_as_many() {
    let arrivals = at_hub(&[("2", "two"), ("3", "three")]);
    let found = judge(&story(), &arrivals, &expired(1), &Allowed::default());
    let lost = Violation::Lost { device: "d".into(), body: "one".into() };
    assert_eq!(found, [Violation::Expired { device: "d".into(), count: 1 }, lost]);
    let planned = Allowed { expiries: ["d".to_owned()].into(), ..Allowed::default() };
    assert_eq!(judge(&story(), &arrivals, &expired(1), &planned), []);
    let one_more = at_hub(&[("3", "three")]);
    let lost = Violation::Lost { device: "d".into(), body: "two".into() };
    assert_eq!(judge(&story(), &one_more, &expired(1), &planned), [lost]);
}

#[test]
fn a_signal_damaged_on_disk_counts_only_where_the_plan_names_it() {
    let arrivals = at_hub(&[("1", "one"), ("3", "three")]);
    let damaged = |device: &str| Allowed {
        damaged: [(device.to_owned(), Bytes::from_static(b"two"))].into(),
        ..Allowed::default()
    };
    assert_eq!(judge(&story(), &arrivals, &GivenUp::default(), &damaged("d")), []);
    let lost = Violation::Lost { device: "d".into(), body: "two".into() };
    assert_eq!(judge(&story(), &arrivals, &GivenUp::default(), &damaged("e")), [lost]);
}

#[test]
fn what_overtakes_an_earlier_signal_is_out_of_order() {
    let overtaken = Violation::Order { device: "d".into(), earlier: "two".into(), later: "one".into() };
    assert_eq!(verdict(&at_hub(&[("2", "two"), ("1", "one"), ("3", "three")])), [overtaken]);
    // A late repeat of what came long before breaks the order, too.
    let late = Violation::Order { device: "d".into(), earlier: "three".into(), later: "one".into() };
    let repeated = at_hub(&[("1", "one"), ("2", "two"), ("3", "three"), ("1", "one")]);
    assert_eq!(verdict(&repeated), [late]);
}

#[test]
fn a_repeat_under_another_message_id_is_wrong() {
    let found = verdict(&at_hub(&[("1", "one"), ("2", "two"), ("9", "two"), ("3", "three")]));
    let twice = Violation::TwoIds { device: "d".into(), body: "two".into(), ids: ("2".to_owned(), "9".to_owned()) };
    assert_eq!(found, [twice]);
}

#[test]
fn a_message_id_with_two_bodies_is_wrong() {
    let found = verdict(&at_hub(&[("1", "one"), ("2", "two"), ("2", "three")]));
    let bodies = ("two".to_owned(), "three".to_owned());
    assert!(found.contains(&Violation::TwoBodies { device: "d".into(), id: "2".into(), bodies }), "{found:?}");
    // Two identities may have the same message-id.
    let story = story();
    let place = story.sends("e", Bytes::from_static(b"four"));
    story.acknowledged("e", place);
    let mut arrivals = complete();
    arrivals.events.push(event("e", "2", "four"));
    assert_eq!(judge(&story, &arrivals, &GivenUp::default(), &Allowed::default()), []);
}

#[test]
fn what_nobody_sent_or_has_no_message_id_is_wrong() {
    let mut arrivals = complete();
    arrivals.events.push(event("d", "4", "four"));
    arrivals.events.push(event("e", "5", "one"));
    let unknown = |device: &str, body: &str| Violation::Unknown { device: device.into(), body: body.into() };
    assert_eq!(verdict(&arrivals), [unknown("d", "four"), unknown("e", "one")]);
    let nameless = at_hub(&[("", "one"), ("2", "two"), ("3", "three")]);
    assert_eq!(verdict(&nameless), [Violation::NoId { device: "d".into(), body: "one".into() }]);
}

#[test]
fn a_seed_repeats_what_it_decides() {
    let throws = |seed| {
        let mut dice = Dice::of(seed);
        let mut part = dice.part();
        (0..20).map(|_| (dice.number(0..=999), part.millis(1..=500), dice.coin())).collect::<Vec<_>>()
    };
    assert_eq!(throws(7), throws(7));
    assert_ne!(throws(7), throws(8));
}
