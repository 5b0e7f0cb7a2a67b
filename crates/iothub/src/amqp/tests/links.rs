use super::*;

#[tokio::test]
async fn a_lost_link_is_its_own_devices_concern_alone() {
    let (mut hub, connection, _driver) = connect(Script { hold: true, ..Script::default() }, &target()).await;
    let a = soon(connection.attach(&device("a"))).await.expect("attached");
    let b = soon(connection.attach(&device("b"))).await.expect("attached");
    let (batch_a, batch_b) = ([signal("a")], [signal("b")]);
    let script = async {
        hub.saw(|seen| seen.transfers == 2).await;
        hub.order(Order::Detach("a", error(condition::LINK_STOLEN, "another client")));
        let why = a.lost().await;
        hub.order(Order::Settle(Outcome::Accepted));
        why
    };
    let (sent_a, sent_b, why) = soon(async { tokio::join!(a.send(&batch_a), b.send(&batch_b), script) }).await;
    let Err(SendError::LinkLost(lost)) = sent_a else { panic!("{sent_a:?}") };
    assert_eq!((lost.condition.as_str(), lost.description.as_str()), ("amqp:link:stolen", "another client"));
    assert_eq!(why, SendError::LinkLost(lost));
    sent_b.expect("accepted");
    assert!(matches!(soon(a.send(&batch_a)).await, Err(SendError::LinkLost(_))), "and so it stays");
}

#[tokio::test]
async fn a_refused_link_says_why_and_leaves_the_others() {
    let refuse = vec![("ghost", error(condition::NOT_FOUND, "no such device"))];
    let (_hub, connection, _driver) = connect(Script { refuse, ..Script::default() }, &target()).await;
    let refused = soon(connection.attach(&device("ghost"))).await.expect_err("refused");
    let AttachError::Refused(why) = refused else { panic!("{refused:?}") };
    assert_eq!(why.condition, "amqp:not-found");
    soon(connection.attach(&device("real"))).await.expect("attached");
}

#[tokio::test]
async fn a_device_gets_its_next_link_only_when_the_old_one_is_gone() {
    let (mut hub, connection, _driver) = connect(Script::default(), &target()).await;
    let first = soon(connection.attach(&device("a"))).await.expect("attached");
    assert_eq!(soon(connection.attach(&device("a"))).await.expect_err("has one"), AttachError::InUse);
    drop(first);
    let second = soon(connection.attach(&device("a"))).await.expect("attached");
    soon(second.detach()).await.expect("confirmed");
    soon(connection.attach(&device("a"))).await.expect("attached");
    let seen = hub.saw(|seen| seen.log.iter().filter(|line| *line == "attach a").count() == 3).await;
    let of_links: Vec<_> = seen.log.iter().filter(|line| line.ends_with(" a")).map(String::as_str).collect();
    assert_eq!(of_links[..5], ["attach a", "detach a", "attach a", "detach a", "attach a"]);
    assert_eq!(connection.identities_used(), 1);
}

#[tokio::test]
async fn a_connection_carries_995_identities_in_its_life_and_no_more() {
    let (hub, connection, _driver) = connect(Script::default(), &target()).await;
    let identities: Vec<_> = (0..target().max_identities()).map(|n| device(&format!("d{n}"))).collect();
    let attached = futures_util::future::join_all(identities.iter().map(|identity| connection.attach(identity)));
    let mut senders: Vec<_> = soon(attached).await.into_iter().map(|sender| sender.expect("attached")).collect();
    assert_eq!(connection.identities_used(), 995);
    let one_more = device("one more");
    let full = AttachError::TooManyIdentities(995);
    assert_eq!(soon(connection.attach(&one_more)).await.expect_err("full"), full);
    // An identity that leaves keeps its place: the hub keeps its token.
    soon(senders.pop().expect("995").detach()).await.expect("confirmed");
    assert_eq!(soon(connection.attach(&one_more)).await.expect_err("still full"), full);
    soon(connection.attach(&identities[994])).await.expect("it has been here before");
    assert_eq!(hub.seen().tokens.len(), 996);
}

#[tokio::test]
async fn the_hub_sees_address_and_client_as_microsofts_sdks_give_them() {
    let (hub, connection, _driver) = connect(Script::default(), &target()).await;
    soon(connection.attach(&device("a b#1"))).await.expect("attached");
    let attach = hub.seen().attached.pop().expect("a link");
    let address = attach.target.and_then(|target| target.address).expect("an address");
    assert_eq!(address, "/devices/a%20b%231/messages/events");
    let keys: Vec<_> = attach.properties.iter().map(|(key, _)| key.as_str()).collect();
    assert_eq!(keys, ["com.microsoft:client-version", "com.microsoft:api-version"]);
}
