use super::*;

fn governor() -> Arc<Governor> {
    Governor::new(&Timing::default())
}

fn integration() -> IntegrationId {
    IntegrationId::random()
}

fn s1() -> Capacity {
    Capacity::new(hubward_model::Tier::S1, 1).unwrap()
}

/// Lets the ramp of a start pass.
fn warm(governor: &Governor) {
    for _ in 0..5000 {
        governor.accepted(1);
        governor.linked();
    }
}

#[tokio::test(start_paused = true)]
async fn nobody_waits_until_the_hub_throttles() {
    let governor = governor();
    let mut turns = Vec::new();
    for _ in 0..1000 {
        turns.push(governor.turn().await);
        governor.accepted(1);
    }
    assert!(governor.holding().is_none() && !governor.slows());
    assert_eq!(governor.shown(), PaceShown::default());
}

#[tokio::test(start_paused = true)]
async fn at_first_only_so_many_go_as_any_hub_bears_and_more_with_each_that_it_takes() {
    let governor = governor();
    let mut turns = Vec::new();
    while let Some(turn) = governor.try_turn() {
        turns.push(turn);
    }
    assert_eq!(turns.len(), 100);
    governor.accepted(1);
    drop(turns.pop());
    let (one, other) = (governor.try_turn(), governor.try_turn());
    assert!(one.is_some() && other.is_some() && governor.try_turn().is_none());
}

#[tokio::test(start_paused = true)]
async fn a_hub_that_says_for_how_long_is_left_alone_for_that_long() {
    let governor = governor();
    let begun = Instant::now();
    governor.throttled("too fast", Some(Duration::from_secs(90)));
    drop(governor.turn().await);
    assert!(begun.elapsed() >= Duration::from_secs(90));
}

#[tokio::test(start_paused = true)]
async fn after_a_throttle_all_wait_then_as_many_go_on_as_the_hub_took() {
    let governor = governor();
    warm(&governor);
    tokio::time::sleep(Duration::from_secs(2)).await;
    for _ in 0..200 {
        drop(governor.turn().await);
        governor.accepted(1);
    }
    governor.throttled("too fast", None);
    governor.throttled("too fast", None);
    assert!(governor.holding().is_some() && governor.slows());
    let begun = Instant::now();
    let mut count = 0;
    while begun.elapsed() < Duration::from_secs(10) {
        drop(governor.turn().await);
        count += 1;
    }
    // 180 in a second for a little less than ten, and a little more with time.
    assert!((1600..2100).contains(&count), "{count}");
}

#[tokio::test(start_paused = true)]
async fn lanes_get_their_turns_in_the_order_they_came() {
    let governor = governor();
    governor.give(&integration(), Some(s1()));
    governor.throttled("too fast", None);
    let order = Arc::new(Mutex::new(Vec::new()));
    let lanes = (0..20).map(|lane| {
        let (governor, order) = (Arc::clone(&governor), Arc::clone(&order));
        async move {
            // A second turn of the same lane comes after the first of all others.
            for turn in 0..2 {
                let _turn = governor.turn().await;
                order.lock().unwrap().push((turn, lane));
            }
        }
    });
    futures_util::future::join_all(lanes).await;
    let expected: Vec<_> = (0..2).flat_map(|turn| (0..20).map(move |lane| (turn, lane))).collect();
    assert_eq!(*order.lock().unwrap(), expected);
}

#[tokio::test(start_paused = true)]
async fn a_lane_that_stops_waiting_takes_no_turn_with_it() {
    let governor = governor();
    governor.throttled("too fast", None);
    let mut first = Box::pin(governor.turn());
    let mut gone = Box::pin(governor.turn());
    let mut last = Box::pin(governor.turn());
    assert!(futures_util::poll!(first.as_mut()).is_pending());
    assert!(futures_util::poll!(gone.as_mut()).is_pending());
    assert!(futures_util::poll!(last.as_mut()).is_pending());
    drop(gone);
    drop(first.await);
    drop(last.await);
    assert_eq!(governor.lock().sends.under_way(), 0);
    assert!(!governor.lock().sends.anybody_waits());
}

#[tokio::test(start_paused = true)]
async fn links_and_sends_have_budgets_of_their_own() {
    let governor = governor();
    warm(&governor);
    governor.links_throttled();
    assert!(governor.try_turn().is_some(), "sends go on");
    assert!(governor.holding().is_none());
    let begun = Instant::now();
    drop(governor.link_turn().await);
    assert!(begun.elapsed() >= Duration::from_millis(250));
    governor.throttled("too fast", None);
    assert!(governor.try_turn().is_none());
}

#[tokio::test(start_paused = true)]
async fn one_that_gives_no_word_stands_in_nobodys_way_for_long() {
    let governor = governor();
    governor.refused_as_a_whole("suspended");
    let silent = governor.turn().await;
    let begun = Instant::now();
    let _next = governor.turn().await;
    assert_eq!(begun.elapsed(), Duration::from_secs(5));
    drop(silent);
}

#[tokio::test(start_paused = true)]
async fn quota_holds_until_midnight_or_the_next_look_by_one_and_retry_now_ends_it() {
    let governor = governor();
    governor.quota_used_up(Duration::from_secs(36_000), "quota");
    let start = Instant::now();
    let probe = governor.turn().await;
    assert_eq!(start.elapsed(), Timing::default().quota);
    assert!(governor.try_turn().is_none(), "one looks, the others wait");
    // Still used up; those that were under way with it are told the same and change nothing.
    governor.quota_used_up(Duration::from_secs(60), "quota");
    governor.quota_used_up(Duration::from_secs(60), "quota");
    drop(probe);
    let hold = governor.hold().unwrap();
    assert_eq!(hold.code, "quota");
    let until_midnight = hold.until.duration_since(Instant::now());
    assert!((Duration::from_secs(60)..Duration::from_secs(71)).contains(&until_midnight), "{until_midnight:?}");
    let mut turn = Box::pin(governor.turn());
    assert!(futures_util::poll!(turn.as_mut()).is_pending());
    governor.retry_now();
    drop(turn.await);
}

#[tokio::test(start_paused = true)]
async fn after_an_outage_lanes_come_back_a_few_at_first_and_at_a_time_of_their_own() {
    let mut begins = Vec::new();
    for _ in 0..8 {
        let governor = governor();
        warm(&governor);
        governor.outage_over();
        let begun = Instant::now();
        let mut turns = vec![governor.link_turn().await];
        begins.push(begun.elapsed());
        while let Some(turn) = governor.try_take(Budget::Links) {
            turns.push(turn);
        }
        assert_eq!(turns.len(), 16);
    }
    assert!(begins.iter().all(|begin| *begin <= SECOND), "{begins:?}");
    assert!(begins.iter().any(|begin| *begin != begins[0]), "all at once: {begins:?}");
}

#[tokio::test(start_paused = true)]
async fn of_several_integrations_that_know_the_hub_the_least_counts() {
    let governor = governor();
    let (one, other) = (integration(), integration());
    governor.give(&one, Some(Capacity::new(hubward_model::Tier::S3, 2).unwrap()));
    governor.give(&other, Some(s1()));
    assert_eq!(governor.shown(), PaceShown { sends: Some(98.0), links: Some(98.0), given: true });
    governor.give(&other, None);
    assert_eq!(governor.shown().sends, Some(11_760.0));
    governor.give(&one, None);
    assert_eq!(governor.shown(), PaceShown::default());
}

#[tokio::test(start_paused = true)]
async fn where_each_message_counts_a_turn_is_small_so_that_nobody_waits_long_behind_it() {
    let governor = governor();
    assert_eq!(governor.turn().await.most(), usize::MAX);
    governor.give(&integration(), Some(s1()));
    let begun = Instant::now();
    for _ in 0..100 {
        let turn = governor.turn().await;
        assert_eq!(turn.most(), 4);
        turn.charge(3);
    }
    // 400 messages at 98 a second, the first quarter of a second's at once.
    let took = begun.elapsed().as_secs_f64();
    assert!((3.6..4.2).contains(&took), "{took}");
}

#[tokio::test(start_paused = true)]
async fn drift_uses_a_fifth_of_the_registry_and_only_what_nobody_else_waits_for() {
    let governor = governor();
    governor.give(&integration(), Some(s1()));
    let begun = Instant::now();
    let mut looked = 0;
    while begun.elapsed() < Duration::from_secs(600) {
        governor.registry_turn(RegistryUse::Drift, 1).await;
        looked += 1;
    }
    // 20 a minute for ten minutes, and a quarter of a minute's at first.
    assert!((190..=206).contains(&looked), "{looked}");
    // While others use the rest and more, drift waits.
    governor.registry_turn(RegistryUse::Needed, 100).await;
    let mut drift = Box::pin(governor.registry_turn(RegistryUse::Drift, 1));
    assert!(futures_util::poll!(drift.as_mut()).is_pending());
    let heal = governor.registry_turn(RegistryUse::Needed, 1);
    tokio::pin!(heal);
    tokio::select! {
        () = &mut heal => {}
        () = &mut drift => panic!("drift went before healing"),
    }
    drift.await;
}

#[tokio::test(start_paused = true)]
async fn a_hub_has_one_governor_whoever_asks() {
    let governors = Governors::new(&Timing::default());
    let one = governors.of("Hub.azure-devices.net");
    assert!(Arc::ptr_eq(&one, &governors.of("hub.azure-devices.net:8443")));
    assert!(!Arc::ptr_eq(&one, &governors.of("other.azure-devices.net")));
}
