use hubward_model::DeviceKind;
use proptest::prelude::*;

use super::*;
use crate::testing::{device, integration, new_binding, new_integration, registry};
use crate::{HubSide, NewDevice};

/// What a new binding's lane begins with.
const NEW: Lane = Lane { settled: Some(Offset::from_raw(7)), delivered: 0, held: None };

fn at(raw: u64) -> Offset {
    Offset::from_raw(raw)
}

async fn save(registry: &Registry, integration: &IntegrationId, low_water: u64, lanes: &[(DeviceId, Lane)]) {
    let update = ProgressUpdate { integration: integration.clone(), low_water: at(low_water), lanes: lanes.to_vec() };
    assert_eq!(registry.save_progress(&[update]).await.unwrap(), Saved::Saved);
}

#[tokio::test]
async fn progress_begins_at_the_start_and_is_read_back_as_saved() {
    let (registry, _folder) = registry().await;
    let (a, b) = (device(&registry, "a").await, device(&registry, "b").await);
    let azure = integration(&registry, "azure", &[(&a, "a-1"), (&b, "b-1")]).await.id;
    let fresh = registry.progress(&azure).await.unwrap();
    assert_eq!(fresh.low_water, Offset::START);
    assert_eq!(fresh.lanes.len(), 2);
    assert!(fresh.lanes.values().all(|lane| *lane == NEW), "it begins at the start of its binding");

    let ahead = Lane { settled: Some(at(90)), delivered: 5, held: None };
    save(&registry, &azure, 40, &[(a.clone(), ahead)]).await;
    let progress = registry.progress(&azure).await.unwrap();
    assert_eq!((progress.low_water, progress.lanes[&a], progress.lanes[&b]), (at(40), ahead, NEW));

    // The lane met the reader again: its entry goes, what it delivered stays.
    let level = Lane { settled: None, delivered: 6, held: Some(Held { until: at(95), from: 12 }) };
    save(&registry, &azure, 95, &[(a.clone(), level)]).await;
    let progress = registry.progress(&azure).await.unwrap();
    assert_eq!((progress.low_water, progress.lanes[&a]), (at(95), level));
    assert_eq!(registry.binding(&azure, &a).await.unwrap().delivered, 6);
}

#[tokio::test]
async fn saving_the_same_twice_changes_nothing() {
    let (registry, _folder) = registry().await;
    let a = device(&registry, "a").await;
    let azure = integration(&registry, "azure", &[(&a, "a-1")]).await.id;
    let lane = Lane { settled: Some(at(9)), delivered: 3, held: None };
    for _ in 0..2 {
        save(&registry, &azure, 4, &[(a.clone(), lane)]).await;
        assert_eq!(registry.progress(&azure).await.unwrap().lanes[&a], lane);
    }
}

#[tokio::test]
async fn lanes_and_integrations_that_are_gone_are_skipped_and_leave_no_trace() {
    let (registry, _folder) = registry().await;
    let (a, b) = (device(&registry, "a").await, device(&registry, "b").await);
    let azure = integration(&registry, "azure", &[(&a, "a-1"), (&b, "b-1")]).await.id;
    registry.remove_bindings(&azure, std::slice::from_ref(&a), HubSide::Settled).await.unwrap();
    let lane = Lane { settled: Some(at(9)), delivered: 3, held: None };
    let gone = ProgressUpdate { integration: IntegrationId::random(), low_water: at(1), lanes: vec![] };
    let update = ProgressUpdate {
        integration: azure.clone(),
        low_water: at(4),
        lanes: vec![(a.clone(), lane), (b.clone(), lane)],
    };
    assert_eq!(registry.save_progress(&[gone, update]).await.unwrap(), Saved::Saved);
    let progress = registry.progress(&azure).await.unwrap();
    assert_eq!(progress.lanes.len(), 1);
    assert_eq!(progress.lanes[&b], lane);
    registry.add_bindings(&azure, vec![new_binding(&a, "a-2")]).await.unwrap();
    assert_eq!(registry.progress(&azure).await.unwrap().lanes[&a], NEW);
    let unknown = registry.progress(&IntegrationId::random()).await;
    assert!(matches!(unknown, Err(Error::NotFound { .. })));
}

#[test]
fn any_number_of_changed_lanes_is_saved_whole() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (registry, azure, devices, _folder) = runtime.block_on(async {
        let (registry, folder) = registry().await;
        let new = (0..1200).map(|n| NewDevice::new(format!("d{n}").parse().unwrap(), DeviceKind::Mqtt)).collect();
        let devices: Vec<_> = registry.add_devices(new).await.unwrap().into_iter().map(|made| made.value.id).collect();
        let bindings = devices.iter().map(|device| new_binding(device, device.as_str())).collect();
        let azure = registry.add_integration(new_integration("azure"), bindings).await.unwrap().id;
        (registry, azure, devices, folder)
    });
    let mut model = vec![NEW; devices.len()];
    let lanes = (0..=devices.len(), any::<u32>(), any::<bool>());
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig::with_cases(20));
    let model = std::cell::RefCell::new(&mut model);
    runner
        .run(&lanes, |(number, seed, entry)| {
            let mut model = model.borrow_mut();
            let first = seed as usize % devices.len();
            let changed: Vec<_> = (0..number)
                .map(|n| {
                    let index = (first + n) % devices.len();
                    let settled = entry.then(|| at(u64::from(seed) + n as u64));
                    model[index] = Lane { settled, delivered: u64::from(seed) + n as u64, held: None };
                    (devices[index].clone(), model[index])
                })
                .collect();
            runtime.block_on(save(&registry, &azure, u64::from(seed), &changed));
            let progress = runtime.block_on(registry.progress(&azure)).unwrap();
            prop_assert_eq!(progress.low_water, at(u64::from(seed)));
            for (device, lane) in devices.iter().zip(model.iter()) {
                prop_assert_eq!(progress.lanes[device], *lane);
            }
            Ok(())
        })
        .unwrap();
}
