use hubward_model::{BindingState, DeviceId};

use super::*;
use crate::testing::{device, integration, new_binding, new_integration, registry};
use crate::{BindingChange, HubSide};

async fn fleet(registry: &Registry, from: usize, to: usize) -> Vec<DeviceId> {
    let mut ids = Vec::new();
    for number in from..to {
        ids.push(device(registry, &format!("board-{number:05}")).await);
    }
    ids
}

#[tokio::test]
async fn a_page_costs_the_same_however_large_the_fleet() {
    let (registry, _folder) = registry().await;
    let mut ids = fleet(&registry, 0, 60).await;
    let bind = |ids: &[DeviceId]| ids.iter().map(|id| new_binding(id, &format!("hub-{id}"))).collect::<Vec<_>>();
    let azure = registry.add_integration(new_integration("azure"), bind(&ids)).await.unwrap();
    let page = ids[..40].to_vec();
    let costs = async || {
        let before = registry.read_steps();
        assert_eq!(registry.devices_by_id(&page).await.unwrap().len(), 40);
        assert_eq!(registry.bindings_of_devices(&page).await.unwrap().len(), 40);
        assert_eq!(registry.bindings_among(&azure.id, &page).await.unwrap().len(), 40);
        let part =
            BindingsPage { integration: &azure.id, made_by_us: Some(false), state: None, after: None, limit: 20 };
        assert_eq!(registry.bindings_page(&part).await.unwrap().len(), 20);
        let made = BindingsPage { made_by_us: Some(true), ..part };
        assert_eq!(registry.bindings_page(&made).await.unwrap().len(), 0);
        let held = BindingsPage { state: Some(BindingState::Conflict), made_by_us: None, ..part };
        assert_eq!(registry.bindings_page(&held).await.unwrap().len(), 0);
        assert_eq!(registry.binding_counts(&azure.id).await.unwrap().len(), 1);
        registry.read_steps() - before
    };
    let small = costs().await;
    ids.extend(fleet(&registry, 60, 1200).await);
    registry.add_bindings(&azure.id, bind(&ids[60..])).await.unwrap();
    let large = costs().await;
    assert!(small > 1000, "steps are counted: {small}");
    assert!(large < small + small / 2, "{small} steps with 60 devices, {large} with 1200");
}

#[tokio::test]
async fn counts_follow_what_becomes_of_bindings() {
    let (registry, _folder) = registry().await;
    let ids = fleet(&registry, 0, 3).await;
    let named: Vec<_> = ids.iter().zip(["a", "b", "c"]).collect();
    let azure = integration(&registry, "azure", &named).await;
    let count = async |state, made_by_us| {
        let counts = registry.binding_counts(&azure.id).await.unwrap();
        counts.iter().find(|c| c.state == state && c.made_by_us == made_by_us).map_or(0, |count| count.number)
    };
    assert_eq!(count(BindingState::Creating, false).await, 3);
    let made = |id: &DeviceId| BindingChange {
        state: Some(BindingState::Delivering),
        made_by_us: Some(true),
        ..BindingChange::of(id.clone())
    };
    registry.change_bindings(&azure.id, vec![made(&ids[0]), made(&ids[1])]).await.unwrap();
    assert_eq!((count(BindingState::Creating, false).await, count(BindingState::Delivering, true).await), (1, 2));
    registry.remove_bindings(&azure.id, &ids[1..], HubSide::Settled).await.unwrap();
    assert_eq!((count(BindingState::Creating, false).await, count(BindingState::Delivering, true).await), (0, 1));
    registry.remove_integration(&azure.id, HubSide::Settled).await.unwrap();
    assert!(registry.binding_counts(&azure.id).await.unwrap().is_empty());
}

#[tokio::test]
async fn devices_are_chosen_from_memory_and_a_login_name_leads_to_its_device() {
    let (registry, _folder) = registry().await;
    let ids = fleet(&registry, 0, 3).await;
    let before = registry.read_steps();
    let found = registry.choose_devices(|card| card.name.as_str().ends_with('1').then(|| card.id.clone()));
    assert_eq!(found, [ids[1].clone()]);
    assert_eq!(registry.device_count(), 3);
    assert_eq!(registry.device_of_login(ids[2].as_str()), Some(ids[2].clone()));
    assert_eq!(registry.device_of_login("nobody"), None);
    assert_eq!(registry.read_steps(), before);
}
