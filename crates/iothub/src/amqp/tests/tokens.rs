use std::time::UNIX_EPOCH;

use tokio::time::{Instant, sleep};

use super::*;
use crate::clock::Clock;
use crate::sas::Lifetime;

fn short_lived() -> Target {
    let lifetime = Lifetime { valid_for: Duration::from_secs(2), renew_before: Duration::from_secs(1) };
    Target { lifetime, ..target() }
}

#[tokio::test]
async fn tokens_travel_without_waiting_for_one_another() {
    // The hub answers none before it has fifty.
    let (hub, connection, _driver) = connect(Script { tokens_at_once: 50, ..Script::default() }, &target()).await;
    let identities: Vec<_> = (0..50).map(|n| device(&format!("d{n}"))).collect();
    let attached = futures_util::future::join_all(identities.iter().map(|identity| connection.attach(identity)));
    assert!(soon(attached).await.iter().all(Result::is_ok));
    let (name, token) = hub.seen().tokens.swap_remove(7);
    assert_eq!(name, "hub.azure-devices.net/devices/d7");
    assert!(token.starts_with("SharedAccessSignature sr=hub.azure-devices.net%2Fdevices%2Fd7&sig="), "{token}");
}

#[tokio::test]
async fn a_refused_token_says_why_and_leaves_the_others() {
    let (hub, connection, _driver) = connect(Script::default(), &target()).await;
    hub.order(Order::Token("stranger", 401));
    // Orders and frames come by different ways: ask until the order has arrived.
    let refused = soon(async {
        loop {
            match connection.attach(&device("stranger")).await {
                Err(error) => return error,
                Ok(sender) => sender.detach().await.expect("confirmed"),
            }
        }
    })
    .await;
    let AttachError::Refused(why) = refused else { panic!("{refused:?}") };
    assert_eq!((why.condition.as_str(), why.description.as_str()), ("cbs:401", "refused by the script"));
    soon(connection.attach(&device("friend"))).await.expect("attached");
    hub.order(Order::Token("stranger", 200));
    soon(async { while connection.attach(&device("stranger")).await.is_err() {} }).await;
}

#[tokio::test]
async fn a_token_is_renewed_on_the_open_connection_while_messages_go_on() {
    let (mut hub, connection, _driver) = connect(Script::default(), &short_lived()).await;
    let a = soon(connection.attach(&device("a"))).await.expect("attached");
    let renewed = hub.saw(|seen| seen.tokens_of("a") >= 3);
    let sending = async {
        loop {
            a.send(&[signal("x")]).await.expect("accepted");
            tokio::task::yield_now().await;
        }
    };
    let seen = tokio::select! {
        seen = renewed => seen,
        () = sending => unreachable!("it goes on for ever"),
    };
    assert_eq!(seen.log.iter().filter(|line| *line == "attach a").count(), 1, "the link stayed");
    let expiries: Vec<_> = seen.tokens.iter().map(|(_, token)| token.rsplit("se=").next().map(str::to_owned)).collect();
    assert!(expiries.windows(2).all(|pair| pair[0] < pair[1]), "{expiries:?}");
}

#[tokio::test]
async fn a_renewal_that_is_refused_for_good_ends_the_link_and_says_so() {
    let (hub, connection, _driver) = connect(Script::default(), &short_lived()).await;
    let a = soon(connection.attach(&device("a"))).await.expect("attached");
    hub.order(Order::Token("/a", 401));
    let why = soon(a.lost()).await;
    assert!(matches!(&why, SendError::LinkLost(why) if why.condition == "cbs:401"), "{why:?}");
    hub.order(Order::Token("/a", 200));
    soon(async { while connection.attach(&device("a")).await.is_err() {} }).await;
}

#[tokio::test]
async fn a_renewal_that_fails_for_now_is_tried_again() {
    let (mut hub, connection, _driver) = connect(Script::default(), &short_lived()).await;
    let a = soon(connection.attach(&device("a"))).await.expect("attached");
    hub.order(Order::Token("/a", 500));
    hub.saw(|seen| seen.tokens_of("a") >= 3).await;
    soon(a.send(&[signal("x")])).await.expect("the link lives");
}

#[tokio::test(start_paused = true)]
async fn for_hours_no_token_ends_before_its_successor_is_there_though_our_clock_is_off() {
    // Just within what a token is renewed before its end.
    for ahead in [-14 * 60, 0, 14 * 60] {
        let began = Instant::now();
        let hubs = move || 1_800_000_000 + i64::try_from(began.elapsed().as_secs()).expect("not for so long");
        let ours = move || UNIX_EPOCH + Duration::from_secs(u64::try_from(hubs() + ahead).expect("after 1970"));
        let target = Target { clock: Clock::from_fn(ours), ..target() };
        let (hub, connection, _driver) = connect(Script::default(), &target).await;
        let a = soon(connection.attach(&device("a"))).await.expect("attached");
        for minute in 0..8 * 60 {
            sleep(Duration::from_secs(60)).await;
            let seen = hub.seen();
            let (_, token) = seen.tokens.last().expect("the first");
            let ends: i64 = token.rsplit("se=").next().expect("an end").parse().expect("seconds");
            assert!(ends > hubs(), "after {minute} min the token has ended {} s ago, ahead {ahead} s", hubs() - ends);
        }
        soon(a.send(&[signal("x")])).await.expect("the link lives");
        let seen = hub.seen();
        assert!(seen.tokens_of("a") > 8, "it was renewed: {}", seen.tokens_of("a"));
        assert_eq!(seen.log.iter().filter(|line| *line == "attach a").count(), 1, "the link stayed");
    }
}
