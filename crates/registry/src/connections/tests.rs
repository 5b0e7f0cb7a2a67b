use super::*;
use crate::testing::{device, registry};

fn at(millis: i64) -> Timestamp {
    Timestamp::from_millis(1_700_000_000_000 + millis)
}

fn opened(device: &DeviceId, when: i64) -> (String, ConnectionChange) {
    let id = Registry::connection_id(at(when));
    let change = ConnectionChange::Opened {
        id: id.clone(),
        device: device.clone(),
        at: at(when),
        peer: "10.0.0.1:5000".to_owned(),
        protocol: "MQTT 5".to_owned(),
        keep_alive: 60,
    };
    (id, change)
}

#[tokio::test]
async fn connections_are_shown_newest_first_each_with_its_end() {
    let (registry, _folder) = registry().await;
    let board = device(&registry, "board").await;
    let (first, open_first) = opened(&board, 0);
    let (_, open_second) = opened(&board, 20);
    let closed = ConnectionChange::Closed { id: first, at: at(10), reason: "keepalive timeout".to_owned() };
    let refused = ConnectionChange::Refused {
        device: board.clone(),
        at: at(30),
        peer: "10.0.0.2:1".to_owned(),
        reason: "wrong user name or password".to_owned(),
    };
    registry.note_connections(&[open_first, closed, open_second, refused]).await.unwrap();
    let shown = registry.connections(&board, None, 10).await.unwrap();
    assert_eq!(shown.len(), 3);
    assert_eq!(shown[0].ended, Ended::Refused { reason: "wrong user name or password".to_owned() });
    assert_eq!((&shown[1].ended, shown[1].keep_alive), (&Ended::Open, Some(60)));
    assert_eq!(shown[2].ended, Ended::At { at: Some(at(10)), reason: "keepalive timeout".to_owned() });
    let older = registry.connections(&board, Some(&shown[1].id), 10).await.unwrap();
    assert_eq!(older, shown[2..]);

    // The server was killed: nobody saw the end of the open one.
    assert_eq!(registry.close_unseen_connections().await.unwrap(), 1);
    let shown = registry.connections(&board, None, 10).await.unwrap();
    assert_eq!(shown[1].ended, Ended::At { at: None, reason: REASON_UNSEEN.to_owned() });
    let milestones = registry.milestones().await.unwrap();
    let connect = milestones.iter().find(|reached| reached.milestone == Milestone::Connect).unwrap();
    assert_eq!((connect.at, connect.subject.as_str()), (at(0), board.as_str()));
}

#[tokio::test]
async fn only_the_newest_of_a_device_are_kept() {
    let (registry, _folder) = registry().await;
    let (board, other) = (device(&registry, "board").await, device(&registry, "other").await);
    let (_, kept) = opened(&other, 0);
    registry.note_connections(&[kept]).await.unwrap();
    for round in 0..i64::from(KEPT) + 20 {
        let (id, open) = opened(&board, round * 2);
        let closed = ConnectionChange::Closed { id, at: at(round * 2 + 1), reason: "disconnected".to_owned() };
        registry.note_connections(&[open, closed]).await.unwrap();
    }
    let shown = registry.connections(&board, None, 1000).await.unwrap();
    assert!(shown.len() <= KEPT as usize + 1, "{}", shown.len());
    assert_eq!(shown[0].connected_at, at((i64::from(KEPT) + 19) * 2));
    assert_eq!(registry.connections(&other, None, 1000).await.unwrap().len(), 1);
    // A device that is gone is no error.
    registry.remove_device(&board).await.unwrap();
    let (_, late) = opened(&board, 900_000);
    registry.note_connections(&[late]).await.unwrap();
}
