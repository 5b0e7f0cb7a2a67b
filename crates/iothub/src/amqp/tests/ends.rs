use super::*;

/// Everything that waits on a connection, and how each wait ended.
async fn all_waits(
    connection: &Connection,
    sender: &Sender,
    hub: &mut FakeHub,
    end: impl FnOnce(&FakeHub),
) -> (Result<(), SendError>, SendError, Result<Sender, AttachError>, Closed) {
    let batch = [signal("x")];
    let before = hub.seen();
    let newcomer = device("newcomer");
    let end = async {
        hub.saw(|seen| seen.transfers > before.transfers && seen.tokens.len() > before.tokens.len()).await;
        end(hub);
    };
    let waits = async {
        tokio::join!(sender.send(&batch), sender.lost(), connection.attach(&newcomer), connection.closed(), end)
    };
    let (sent, lost, attached, closed, ()) = soon(waits).await;
    (sent, lost, attached, closed)
}

/// A hub that settles nothing, and answers tokens only in twos.
fn slow() -> Script {
    Script { hold: true, tokens_at_once: 2, ..Script::default() }
}

async fn one_attached(target: &Target) -> (FakeHub, Connection, JoinHandle<Closed>, Sender) {
    let (hub, connection, driver) = connect(slow(), target).await;
    let (a, b) = (device("a"), device("b"));
    let (a, b) = soon(async { tokio::join!(connection.attach(&a), connection.attach(&b)) }).await;
    drop(b);
    (hub, connection, driver, a.expect("attached"))
}

#[tokio::test]
async fn every_wait_ends_when_the_hub_closes() {
    let (mut hub, connection, driver, sender) = one_attached(&target()).await;
    let end = |hub: &FakeHub| hub.order(Order::Close(error(condition::CONNECTION_FORCED, "restart")));
    let (sent, lost, attached, closed) = all_waits(&connection, &sender, &mut hub, end).await;
    let Closed::ByHub(Some(why)) = &closed else { panic!("{closed:?}") };
    assert_eq!(why.condition, "amqp:connection:forced");
    assert_eq!(sent, Err(SendError::ConnectionLost(closed.clone())));
    assert_eq!(lost, SendError::ConnectionLost(closed.clone()));
    assert_eq!(attached.expect_err("lost"), AttachError::ConnectionLost(closed.clone()));
    assert_eq!(soon(driver).await.expect("no panic"), closed);
    assert_eq!(soon(sender.send(&[signal("x")])).await, Err(SendError::ConnectionLost(closed.clone())));
    assert_eq!(soon(sender.detach()).await, Err(DetachError::ConnectionLost(closed)));
}

#[tokio::test]
async fn every_wait_ends_when_the_line_is_cut() {
    let (mut hub, connection, driver, sender) = one_attached(&target()).await;
    let end = |hub: &FakeHub| hub.abort();
    let (sent, lost, attached, closed) = all_waits(&connection, &sender, &mut hub, end).await;
    assert!(matches!(closed, Closed::Network(_)), "{closed:?}");
    assert!(matches!(sent, Err(SendError::ConnectionLost(_))) && matches!(lost, SendError::ConnectionLost(_)));
    assert!(matches!(attached, Err(AttachError::ConnectionLost(_))));
    soon(driver).await.expect("no panic");
}

#[tokio::test]
async fn every_wait_ends_when_the_hub_falls_silent() {
    let mut impatient = target();
    impatient.timeouts.idle = Duration::from_millis(100);
    let (mut hub, connection, driver, sender) = one_attached(&impatient).await;
    let end = |hub: &FakeHub| hub.order(Order::Silence);
    let (sent, _, attached, closed) = all_waits(&connection, &sender, &mut hub, end).await;
    assert_eq!(closed, Closed::Silent);
    assert_eq!(sent, Err(SendError::ConnectionLost(Closed::Silent)));
    assert!(matches!(attached, Err(AttachError::ConnectionLost(Closed::Silent))));
    assert_eq!(soon(driver).await.expect("no panic"), Closed::Silent);
}

#[tokio::test]
async fn every_wait_ends_when_nobody_drives() {
    let (mut hub, connection, driver, sender) = one_attached(&target()).await;
    let (sent, _, attached, closed) = all_waits(&connection, &sender, &mut hub, |_| driver.abort()).await;
    assert_eq!(closed, Closed::Dropped);
    assert_eq!(sent, Err(SendError::ConnectionLost(Closed::Dropped)));
    assert!(matches!(attached, Err(AttachError::ConnectionLost(Closed::Dropped))));
}

#[tokio::test]
async fn closing_is_orderly_and_ends_every_wait() {
    let (mut hub, connection, driver, sender) = one_attached(&target()).await;
    let (sent, _, _, closed) = all_waits(&connection, &sender, &mut hub, |_| connection.close()).await;
    assert_eq!(closed, Closed::ByUs);
    assert_eq!(sent, Err(SendError::ConnectionLost(Closed::ByUs)));
    assert_eq!(soon(driver).await.expect("no panic"), Closed::ByUs);
}

#[tokio::test]
async fn closing_does_not_wait_for_ever() {
    let mut impatient = target();
    impatient.timeouts.close = Duration::from_millis(50);
    let (hub, connection, driver, _sender) = one_attached(&impatient).await;
    hub.order(Order::Silence);
    connection.close();
    assert_eq!(soon(driver).await.expect("no panic"), Closed::ByUs);
}

#[tokio::test]
async fn a_connection_that_nobody_holds_closes_itself() {
    let (_hub, connection, driver, sender) = one_attached(&target()).await;
    drop((connection, sender));
    assert_eq!(soon(driver).await.expect("no panic"), Closed::ByUs);
}

// Time stands still while anybody has something to do, so that no limit passes by itself.
#[tokio::test(start_paused = true)]
async fn a_hub_that_confirms_nothing_keeps_the_identity_closed_to_others() {
    let mut impatient = target();
    impatient.timeouts.close = Duration::from_millis(50);
    impatient.timeouts.attach = Duration::from_millis(50);
    let (hub, connection, _driver) = connect(Script::default(), &impatient).await;
    let a = soon(connection.attach(&device("a"))).await.expect("attached");
    hub.order(Order::Silence);
    assert_eq!(soon(a.detach()).await, Err(DetachError::Silent));
    assert_eq!(soon(connection.attach(&device("b"))).await.expect_err("silent"), AttachError::Silent);
    assert_eq!(soon(connection.attach(&device("a"))).await.expect_err("silent"), AttachError::Silent);
}

#[tokio::test]
async fn heartbeats_keep_a_quiet_connection_open() {
    let mut nervous = target();
    nervous.timeouts.idle = Duration::from_millis(200);
    let settings =
        hubward_amqp::connection::Settings { idle_time_out: Some(Duration::from_millis(200)), ..Default::default() };
    let (_hub, connection, driver) = connect(Script { settings, ..Script::default() }, &nervous).await;
    let a = soon(connection.attach(&device("a"))).await.expect("attached");
    // Longer than either side's patience.
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(!driver.is_finished());
    soon(a.send(&[signal("x")])).await.expect("accepted");
}
