use std::mem::size_of_val;
use std::time::Duration;

use hubward_iothub::connection_string::SharedAccessKey;
use hubward_iothub::message::D2cMessage;
use hubward_journal::HoldPosition;
use hubward_model::{Draft, Epoch, Kind, Message, Timestamp};
use hubward_registry::Held;

use super::state::{Copied, Feed, HeldEntry, Offer, State};
use super::*;
use crate::hub::Budget;

fn record(offset: u64, size: usize) -> Record {
    Record {
        offset: Offset::from_raw(offset),
        epoch: Epoch::from_raw(1),
        draft: Draft {
            kind: Kind::Signal,
            received_at: Timestamp::from_millis(0),
            device: Some("d".parse().unwrap()),
            only_for: None,
            message: Message { topic: "t".to_owned(), payload: vec![0; size].into(), ..Message::default() },
            note: bytes::Bytes::new(),
        },
    }
}

fn plan() -> LanePlan {
    LanePlan {
        device: "d".parse().unwrap(),
        pybytes: false,
        identity: Identity { hub_device_id: "d".into(), key: SharedAccessKey::random() },
        position: Offset::from_raw(1),
        saved: hubward_registry::Lane::default(),
        wanted: hubward_registry::Lane::default(),
        dead_letters: 0,
    }
}

fn state(feed: Feed) -> State {
    State::new(&plan(), feed, 100_000)
}

fn build(record: &Record) -> D2cMessage {
    D2cMessage { body: record.message.payload.clone(), ..D2cMessage::default() }
}

fn batch(state: &mut State) -> usize {
    match state.take(usize::MAX, build) {
        Work::Batch(batch) => batch.len(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_batch_holds_at_most_500_messages_and_256_kb() {
    let budget = Budget::new(64 << 20);
    let mut state = state(Feed::Main);
    for offset in 1..=600 {
        assert!(matches!(state.offer(Feed::Main, &record(offset, 10), true, &budget), Offer::Taken { .. }));
    }
    assert_eq!(batch(&mut state), 500);
    state.settle(500, DeliveryState::Accepted, false, 100_000, &budget, |_, _| {});
    assert_eq!(batch(&mut state), 100);
    state.settle(100, DeliveryState::Accepted, false, 100_000, &budget, |_, _| {});
    for offset in 601..=604 {
        state.offer(Feed::Main, &record(offset, 131_072), true, &budget);
    }
    assert_eq!(batch(&mut state), 2);
}

#[test]
fn a_lane_at_its_limit_is_detached_where_it_stopped_and_offered_nothing_twice() {
    let budget = Budget::new(64 << 10);
    budget.take(40 << 10);
    let mut state = state(Feed::Main);
    let mut offset = 0;
    loop {
        offset += 1;
        match state.offer(Feed::Main, &record(offset, 10_000), true, &budget) {
            Offer::Taken { .. } => {}
            other => break assert_eq!(other, Offer::Detached),
        }
    }
    assert_eq!(state.offer(Feed::Main, &record(offset + 1, 1), true, &budget), Offer::Elsewhere);
    state.linked();
    assert!(!state.becomes_hungry(), "its queue is full");
    let count = batch(&mut state);
    state.settle(count, DeliveryState::Accepted, false, 100_000, &budget, |_, _| {});
    assert!(state.becomes_hungry() && !state.becomes_hungry());
    assert_eq!(state.join_scan(7), Some(Offset::from_raw(offset)));
    assert_eq!(state.offer(Feed::Scan(6), &record(offset, 1), false, &budget), Offer::Elsewhere);
    assert_eq!(state.offer(Feed::Scan(7), &record(offset - 1, 1), false, &budget), Offer::Passed);
    assert!(matches!(state.offer(Feed::Scan(7), &record(offset, 1), false, &budget), Offer::Taken { .. }));
    state.leave_scan(7, Offset::from_raw(offset + 2), true);
    assert_eq!(state.offer(Feed::Main, &record(offset + 1, 1), false, &budget), Offer::Passed);
    assert!(matches!(state.offer(Feed::Main, &record(offset + 2, 1), false, &budget), Offer::Taken { .. }));
}

#[tokio::test(start_paused = true)]
async fn a_stuck_lane_gives_back_all_but_what_is_under_way() {
    let budget = Budget::new(64 << 20);
    let mut state = state(Feed::Main);
    for offset in 1..=600 {
        state.offer(Feed::Main, &record(offset, 10), true, &budget);
    }
    assert_eq!(batch(&mut state), 500);
    assert!(!state.shed_if_stuck(Duration::from_secs(5), &budget));
    tokio::time::advance(Duration::from_secs(5)).await;
    assert!(state.shed_if_stuck(Duration::from_secs(5), &budget));
    let at = state.standing(Offset::from_raw(601));
    assert_eq!((at.position, at.attached), (Offset::from_raw(1), false));
    state.settle(500, DeliveryState::Accepted, false, 100_000, &budget, |_, _| {});
    assert_eq!(state.standing(Offset::from_raw(601)).position, Offset::from_raw(501));
    assert_eq!(budget.used(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_signal_on_its_way_to_be_a_dead_letter_is_neither_given_back_nor_given_up() {
    let budget = Budget::new(64 << 20);
    let mut state = state(Feed::Main);
    state.offer(Feed::Main, &record(1, 10), true, &budget);
    assert_eq!(batch(&mut state), 1);
    state.put_back();
    state.settle(1, DeliveryState::Accepted, false, 1_000_000, &budget, |_, _| {});
    state.offer(Feed::Main, &record(2, 300_000), true, &budget);
    assert!(matches!(state.take(usize::MAX, build), Work::TooLarge { .. }));
    tokio::time::advance(Duration::from_secs(5)).await;
    assert!(!state.shed_if_stuck(Duration::from_secs(5), &budget));
    assert!(state.freeze(Offset::from_raw(3), &budget).is_none());
    state.settle(1, DeliveryState::DeadLetter, false, 1_000_000, &budget, |_, _| {});
    assert!(state.freeze(Offset::from_raw(3), &budget).is_some());
}

#[test]
fn entries_of_a_copy_on_its_way_are_not_passed_for_good() {
    let budget = Budget::new(64 << 20);
    let place = |raw| HoldPosition::from_raw(raw);
    let mut plan = plan();
    plan.wanted.held = Some(Held { until: Offset::from_raw(10), from: 0 });
    let mut state = State::new(&plan, Feed::Nobody, 100_000);
    state.linked();
    state.join_scan(1).unwrap();
    let offer = |state: &mut State, scan, offset, at, after| {
        let entry = HeldEntry { place: place(at), after: Offset::from_raw(after), over_damage: false };
        state.offer_held(scan, &record(offset, 10), entry, &budget)
    };
    assert!(matches!(offer(&mut state, 1, 5, 0, 1), Offer::Taken { .. }));
    // Added by a copy that does not count yet; then the reader looks after others.
    assert_eq!(offer(&mut state, 1, 12, 1, 6), Offer::Passed);
    state.noted_held(1, place(2), false);
    state.leave_scan(1, Offset::START, false);
    let copied = Copied { begin: Offset::from_raw(10), last: Offset::from_raw(13), first: Some(place(1)) };
    state.cover(Offset::from_raw(20), Offset::from_raw(20), copied);
    assert_eq!(batch(&mut state), 1);
    state.settle(1, DeliveryState::Accepted, false, 100_000, &budget, |_, _| {});
    assert!(state.wants_held().unwrap() <= place(1), "the reader begins where it stands");
    state.join_scan(2).unwrap();
    assert!(matches!(offer(&mut state, 2, 12, 1, 6), Offer::Taken { .. }));
    state.noted_held(2, place(3), false);
    assert_eq!(state.standing(Offset::from_raw(20)).held, Some(Held { until: Offset::from_raw(20), from: 1 }));
    assert_eq!(batch(&mut state), 1);
    state.settle(1, DeliveryState::Accepted, false, 100_000, &budget, |_, _| {});
    assert_eq!(state.standing(Offset::from_raw(20)).held, Some(Held { until: Offset::from_raw(20), from: 3 }));
}

#[test]
fn an_idle_lane_is_small() {
    let state = state(Feed::Main);
    assert!(size_of_val(&state) <= 512, "{} bytes", size_of_val(&state));
    fn size_of_output<F, T: Future>(_: F) -> usize
    where
        F: FnOnce(Arc<Lane>) -> T,
    {
        size_of::<T>()
    }
    assert!(size_of_output(run) <= 1024, "{} bytes", size_of_output(run));
}
