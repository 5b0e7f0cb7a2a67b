use serde_json::json;

use super::*;
use crate::testing::{device, registry};

const NOW: Timestamp = Timestamp::from_millis(20_000 * Timestamp::DAY + 1000);

fn seen(device: &DeviceId, key: &str, number: u64, offset: u64) -> SeriesSeen {
    SeriesSeen {
        device: device.clone(),
        key: key.to_owned(),
        number,
        last_at: NOW,
        last_offset: Offset::from_raw(offset),
        last_value: json!(21.5),
    }
}

async fn save(registry: &Registry, observed: &Observed) {
    let journal = JournalId::from_stored("j".to_owned());
    registry.save_observed(&journal, Offset::from_raw(9), observed).await.unwrap();
}

#[tokio::test]
async fn what_was_counted_is_saved_together_with_how_far() {
    let (registry, _folder) = registry().await;
    let board = device(&registry, "board").await;
    let journal = JournalId::from_stored("j".to_owned());
    assert_eq!(registry.observed_up_to(&journal).await.unwrap(), None);
    let told = Told { what: "battery".to_owned(), at: NOW, detail: json!({ "level": 80 }) };
    let observed = Observed {
        series: vec![seen(&board, "0", 2, 5), seen(&board, "temp", 1, 6)],
        told: vec![(board.clone(), told.clone())],
        first_signal: Some((NOW, board.clone())),
        ..Observed::default()
    };
    save(&registry, &observed).await;
    save(&registry, &Observed { series: vec![seen(&board, "0", 3, 8)], ..Observed::default() }).await;
    assert_eq!(registry.observed_up_to(&journal).await.unwrap(), Some(Offset::from_raw(9)));
    assert_eq!(registry.observed_up_to(&JournalId::from_stored("k".to_owned())).await.unwrap(), None);
    let series = registry.series(&board).await.unwrap();
    let shown: Vec<_> = series.iter().map(|one| (one.key.as_str(), one.number, one.is_number)).collect();
    assert_eq!(shown, [("0", 5, true), ("temp", 1, true)]);
    assert_eq!(series[0].last, Some((NOW, Offset::from_raw(8))));
    assert_eq!(registry.told(&board).await.unwrap(), [told]);
    let reached = registry.milestones().await.unwrap();
    assert!(reached.iter().any(|step| step.milestone == Milestone::Signal && step.subject == board.as_str()));
}

#[tokio::test]
async fn a_signal_keeps_its_name_and_unit_and_can_have_them_before_it_comes() {
    let (registry, _folder) = registry().await;
    let board = device(&registry, "board").await;
    registry.define_series(&board, "3", Some("Humidity"), Some("%")).await.unwrap();
    let observed = Observed { series: vec![seen(&board, "3", 1, 5), seen(&board, "1", 1, 6)], ..Observed::default() };
    save(&registry, &observed).await;
    let series = registry.series(&board).await.unwrap();
    // Undefined ones come first.
    assert_eq!(series.iter().map(|one| one.key.as_str()).collect::<Vec<_>>(), ["1", "3"]);
    assert_eq!(
        (series[1].name.as_deref(), series[1].unit.as_deref(), series[1].number),
        (Some("Humidity"), Some("%"), 1)
    );
    registry.define_series(&board, "3", None, None).await.unwrap();
    assert_eq!(registry.one_series(&board, "3").await.unwrap().unwrap().name, None);
    // One that never came goes with its name.
    registry.define_series(&board, "9", Some("x"), None).await.unwrap();
    registry.define_series(&board, "9", None, None).await.unwrap();
    assert_eq!(registry.one_series(&board, "9").await.unwrap(), None);
}

#[tokio::test]
async fn a_device_that_invents_topics_fills_its_list_and_no_more() {
    let (registry, _folder) = registry().await;
    let board = device(&registry, "board").await;
    let many = (0..300).map(|n| seen(&board, &format!("topic/{n}"), 1, n)).collect();
    save(&registry, &Observed { series: many, ..Observed::default() }).await;
    assert_eq!(registry.series(&board).await.unwrap().len(), 256);
    assert!(matches!(
        registry.define_series(&board, "new", Some("x"), None).await,
        Err(Error::TooMany { most: 256, .. })
    ));
}

#[tokio::test]
async fn traffic_adds_up_by_day_and_old_days_go() {
    let (registry, _folder) = registry().await;
    let board = device(&registry, "board").await;
    let mut one = Traffic::default();
    [0, 24, 513, 5000].into_iter().for_each(|bytes| one.count(bytes));
    assert_eq!(one, Traffic { signals: 4, bytes: 5537, largest: 5000, units_4k: 5, units_half_k: 14 });
    let on = |day: i64, device: Option<DeviceId>| TrafficSeen {
        device,
        at: Timestamp::from_millis(NOW.as_millis() + day * Timestamp::DAY),
        traffic: one,
    };
    let all = vec![on(-9, None), on(-1, None), on(0, None), on(0, Some(board.clone())), on(0, None)];
    save(&registry, &Observed { traffic: all, ..Observed::default() }).await;
    let days = registry.traffic(None, NOW).await.unwrap();
    assert_eq!(days.iter().map(|(_, traffic)| traffic.signals).collect::<Vec<_>>(), [4, 8]);
    assert_eq!(registry.traffic(Some(std::slice::from_ref(&board)), NOW).await.unwrap().len(), 1);
    let past = Timestamp::from_millis(NOW.as_millis() - 5 * Timestamp::DAY);
    assert!(
        registry
            .traffic(None, past)
            .await
            .unwrap()
            .iter()
            .all(|(day, _)| day.as_millis() > NOW.as_millis() - 9 * Timestamp::DAY)
    );
}
