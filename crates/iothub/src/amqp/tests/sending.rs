use hubward_amqp::connection::Settings;

use super::*;

#[tokio::test]
async fn each_devices_messages_arrive_on_its_own_link_in_order() {
    let (hub, connection, _driver) = connect(Script::default(), &target()).await;
    let a = soon(connection.attach(&device("a"))).await.expect("attached");
    let b = soon(connection.attach(&device("b"))).await.expect("attached");
    soon(a.send(&[signal("a1")])).await.expect("accepted");
    soon(b.send(&[signal("b1"), signal("b2"), signal("b3")])).await.expect("accepted");
    soon(a.send(&[signal("a2")])).await.expect("accepted");
    let seen = hub.seen();
    assert_eq!(seen.bodies("a"), ["a1", "a2"]);
    assert_eq!(seen.bodies("b"), ["b1", "b2", "b3"]);
    assert_eq!(seen.transfers, 3, "a batch is one transfer");
}

#[tokio::test]
async fn a_batch_of_many_frames_arrives_whole() {
    let settings = Settings { max_frame_size: 4096, incoming_window: 20, ..Settings::default() };
    let (hub, connection, _driver) = connect(Script { settings, ..Script::default() }, &target()).await;
    let a = soon(connection.attach(&device("a"))).await.expect("attached");
    let b = soon(connection.attach(&device("b"))).await.expect("attached");
    let batch: Vec<_> = (0..500).map(|n| signal(&format!("{n:0400}"))).collect();
    let one = [signal("b")];
    let (large, small) = soon(async { tokio::join!(a.send(&batch), b.send(&one)) }).await;
    large.expect("accepted");
    small.expect("accepted");
    assert_eq!(hub.seen().bodies("a").len(), 500);
    assert_eq!(hub.seen().bodies("b"), ["b"]);
}

#[tokio::test]
async fn sending_waits_for_credit() {
    let (mut hub, connection, _driver) = connect(Script { credit: 1, ..Script::default() }, &target()).await;
    let a = soon(connection.attach(&device("a"))).await.expect("attached");
    soon(a.send(&[signal("1")])).await.expect("accepted");
    let batch = [signal("2")];
    let second = a.send(&batch);
    let credit = async {
        // Nothing can prove that a message is never sent; that it is sent after the credit can be.
        hub.order(Order::Credit("a", 1));
        hub.saw(|seen| seen.bodies("a") == ["1", "2"]).await
    };
    let (second, _) = soon(async { tokio::join!(second, credit) }).await;
    second.expect("accepted");
}

#[tokio::test]
async fn one_settlement_for_many_devices_answers_them_all() {
    let (mut hub, connection, _driver) = connect(Script { hold: true, ..Script::default() }, &target()).await;
    let mut senders = Vec::new();
    for n in 0..20 {
        senders.push(soon(connection.attach(&device(&format!("d{n}")))).await.expect("attached"));
    }
    let batch = [signal("x")];
    let sends = futures_util::future::join_all(senders.iter().map(|sender| sender.send(&batch)));
    let settle = async {
        hub.saw(|seen| seen.transfers == 20).await;
        hub.order(Order::Settle(Outcome::Accepted));
    };
    let (results, ()) = soon(async { tokio::join!(sends, settle) }).await;
    assert!(results.iter().all(Result::is_ok), "{results:?}");
}

#[tokio::test]
async fn a_refused_message_says_why_and_the_link_goes_on() {
    let (mut hub, connection, _driver) = connect(Script { hold: true, ..Script::default() }, &target()).await;
    let a = soon(connection.attach(&device("a"))).await.expect("attached");
    for outcome in [
        Outcome::Rejected(Some(Box::new(error(condition::RESOURCE_LIMIT_EXCEEDED, "quota")))),
        Outcome::Released,
        Outcome::Accepted,
    ] {
        let before = hub.seen().transfers;
        let settle = async {
            hub.saw(|seen| seen.transfers > before).await;
            hub.order(Order::Settle(outcome.clone()));
        };
        let batch = [signal("x")];
        let (result, ()) = soon(async { tokio::join!(a.send(&batch), settle) }).await;
        match (&outcome, result) {
            (Outcome::Accepted, Ok(())) => {}
            (Outcome::Rejected(_), Err(SendError::Refused(why))) => {
                assert_eq!(
                    (why.condition.as_str(), why.description.as_str()),
                    ("amqp:resource-limit-exceeded", "quota")
                );
            }
            (Outcome::Released, Err(SendError::Refused(why))) => assert_eq!(why.condition, "amqp:released"),
            (outcome, result) => panic!("{outcome:?}: {result:?}"),
        }
    }
}

#[tokio::test]
async fn a_missing_disposition_is_noticed_and_the_next_message_goes_on() {
    let mut impatient = target();
    impatient.timeouts.disposition = Duration::from_millis(50);
    let (mut hub, connection, _driver) = connect(Script { hold: true, ..Script::default() }, &impatient).await;
    let a = soon(connection.attach(&device("a"))).await.expect("attached");
    assert_eq!(soon(a.send(&[signal("1")])).await, Err(SendError::NoDisposition));
    // The late word on the first does not answer the second.
    let batch = [signal("2")];
    let second = a.send(&batch);
    let late = async {
        hub.saw(|seen| seen.transfers == 2).await;
    };
    let (second, ()) = soon(async { tokio::join!(second, late) }).await;
    assert_eq!(second, Err(SendError::NoDisposition));
    assert_eq!(hub.seen().bodies("a"), ["1", "2"]);
}

#[tokio::test]
async fn without_credit_a_message_waits_only_so_long() {
    let mut impatient = target();
    impatient.timeouts.disposition = Duration::from_millis(50);
    let (_hub, connection, _driver) = connect(Script { credit: 0, ..Script::default() }, &impatient).await;
    let a = soon(connection.attach(&device("a"))).await.expect("attached");
    assert_eq!(soon(a.send(&[signal("1")])).await, Err(SendError::NoDisposition));
}

#[tokio::test]
async fn what_the_links_limit_refuses_is_told_without_costing_the_link() {
    let script = Script { max_message_size: Some(100), ..Script::default() };
    let (_hub, connection, _driver) = connect(script, &target()).await;
    let a = soon(connection.attach(&device("a"))).await.expect("attached");
    let large = soon(a.send(&[signal(&"x".repeat(200))])).await;
    assert!(matches!(large, Err(SendError::TooLarge { limit: 100, .. })), "{large:?}");
    soon(a.send(&[signal("x")])).await.expect("accepted");
}
