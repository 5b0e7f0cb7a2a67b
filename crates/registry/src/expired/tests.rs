use hubward_model::Offset;

use super::*;
use crate::testing::{device, integration, registry};

fn new(integration: &IntegrationId, device: &DeviceId, from: u64, to: u64, at: i64) -> NewExpired {
    NewExpired {
        integration: integration.clone(),
        device: device.clone(),
        from: Offset::from_raw(from),
        to: Offset::from_raw(to),
        count: (to - from) / 2,
        bytes: 100 * (to - from),
        reason: "device_backlog_limit",
        at: Timestamp::from_millis(at),
    }
}

#[tokio::test]
async fn expired_ranges_are_listed_and_progress_passes_them_with_their_entry() {
    let (registry, _folder) = registry().await;
    let (a, b) = (device(&registry, "a").await, device(&registry, "b").await);
    let azure = integration(&registry, "azure", &[(&a, "a-1"), (&b, "b-1")]).await.id;
    registry.add_expired(&new(&azure, &a, 7, 27, 1000)).await.unwrap();
    registry.add_expired(&new(&azure, &a, 27, 31, 2000)).await.unwrap();
    registry.add_expired(&new(&azure, &b, 9, 11, 2000)).await.unwrap();
    let settled = |progress: &crate::Progress, device| progress.lanes[device].settled;
    let progress = registry.progress(&azure).await.unwrap();
    assert_eq!(settled(&progress, &a), Some(Offset::from_raw(31)));
    assert_eq!(settled(&progress, &b), Some(Offset::from_raw(11)));

    let all = registry.expired(&azure, None, None, 10).await.unwrap();
    assert_eq!(all.len(), 3);
    let first = registry.expired(&azure, None, None, 2).await.unwrap();
    let after = (first[1].at, first[1].id.as_str());
    let second = registry.expired(&azure, None, Some(after), 2).await.unwrap();
    assert_eq!([&first[..], &second[..]].concat(), all, "pages in order");
    let of_a = registry.expired(&azure, Some(&a), None, 10).await.unwrap();
    let ranges: Vec<_> = of_a.iter().map(|range| (range.from.to_raw(), range.to.to_raw(), range.count)).collect();
    assert_eq!(ranges, [(27, 31, 2), (7, 27, 10)]);
    let at = |raw| Offset::from_raw(raw);
    assert_eq!(registry.expired_between(&azure, &a, at(26), at(26)).await.unwrap().len(), 1);
    assert_eq!(registry.expired_between(&azure, &a, at(26), at(27)).await.unwrap().len(), 2);
    assert!(registry.expired_between(&azure, &a, at(31), at(90)).await.unwrap().is_empty());
    let total = registry.expired_total(&azure).await.unwrap();
    assert_eq!(total, ExpiredTotal { ranges: 3, signals: 13, bytes: 2600 });
}
