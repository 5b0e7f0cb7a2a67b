use hubward_model::BindingState;

use super::*;
use crate::testing::{device, integration, registry};
use crate::{ExposeSecret as _, HubSide, SecretString};

const HOST: &str = "hub.azure-devices.net";

async fn deliver(registry: &Registry, id: &IntegrationId, device: &DeviceId) {
    let change = BindingChange {
        state: Some(BindingState::Delivering),
        made_by_us: Some(true),
        generation_id: Some(Some("g1".to_owned())),
        ..BindingChange::of(device.clone())
    };
    registry.change_bindings(id, vec![change]).await.unwrap();
}

#[tokio::test]
async fn an_identity_is_made_again_with_the_same_or_new_keys_and_the_history_says_so() {
    let (registry, _folder) = registry().await;
    let (a, b) = (device(&registry, "a").await, device(&registry, "b").await);
    let id = integration(&registry, "azure", &[(&a, "hub-a"), (&b, "hub-b")]).await.id;
    deliver(&registry, &id, &a).await;
    deliver(&registry, &id, &b).await;
    let now = Timestamp::now();
    assert!(registry.begin_recreation(&id, &a, None, false, now).await.unwrap());
    let keys = Keys { primary: SecretString::from("p"), secondary: SecretString::from("s") };
    assert!(registry.begin_recreation(&id, &b, Some(&keys), true, now).await.unwrap());
    // It is being made: not to be begun a second time.
    assert!(!registry.begin_recreation(&id, &a, None, false, now).await.unwrap());

    let binding = registry.binding(&id, &a).await.unwrap();
    assert_eq!((binding.state, binding.generation_id), (BindingState::Creating, None));
    assert_eq!(binding.failed_step.as_deref(), Some(STEP_RECREATE));
    assert_eq!(registry.keys(&id, &a).await.unwrap().primary.expose_secret(), "primary-key-of-hub-a");
    assert_eq!(registry.keys(&id, &b).await.unwrap().primary.expose_secret(), "p");
    assert!(!registry.is_made_by_us(HOST, "hub-a", "g1").await.unwrap());

    assert_eq!(registry.last_recreation(HOST, "hub-a").await.unwrap(), Some(now));
    assert_eq!(registry.last_recreation(HOST, "other").await.unwrap(), None);
    let unasked = registry.recreated_unasked(HOST, now).await.unwrap();
    assert_eq!(unasked, HashSet::from(["hub-a".to_owned()]));
    assert!(registry.recreated_unasked(HOST, Timestamp::from_millis(now.as_millis() + 1)).await.unwrap().is_empty());
    assert_eq!(registry.heals(&id, now, 10).await.unwrap().len(), 2);
    assert_eq!(registry.heals(&id, now, 1).await.unwrap().len(), 1);
}

#[tokio::test]
async fn what_is_removed_is_not_active_and_never_changed_by_healing() {
    let (registry, _folder) = registry().await;
    let (a, b) = (device(&registry, "a").await, device(&registry, "b").await);
    let id = integration(&registry, "azure", &[(&a, "hub-a"), (&b, "hub-b")]).await.id;
    deliver(&registry, &id, &a).await;
    deliver(&registry, &id, &b).await;
    let all = registry.active_bindings_at(HOST, None, 10).await.unwrap();
    assert_eq!(all.iter().map(|one| one.hub_device_id.as_str()).collect::<Vec<_>>(), ["hub-a", "hub-b"]);
    assert_eq!(registry.active_bindings_at(HOST, Some("hub-a"), 10).await.unwrap().len(), 1);

    let leaving = BindingChange { state: Some(BindingState::Removing), ..BindingChange::of(a.clone()) };
    registry.change_bindings(&id, vec![leaving]).await.unwrap();
    let change = BindingChange { state: Some(BindingState::Missing), ..BindingChange::of(a.clone()) };
    assert!(!registry.change_active_binding(&id, change).await.unwrap());
    assert!(!registry.begin_recreation(&id, &a, None, true, Timestamp::now()).await.unwrap());
    assert_eq!(registry.binding(&id, &a).await.unwrap().state, BindingState::Removing);

    registry.mark_device_removing(&b).await.unwrap();
    let change = BindingChange { state: Some(BindingState::Missing), ..BindingChange::of(b.clone()) };
    assert!(!registry.change_active_binding(&id, change).await.unwrap());
    assert!(registry.active_bindings_at(HOST, None, 10).await.unwrap().is_empty());
}

#[tokio::test]
async fn who_left_for_good_is_remembered_until_somebody_adds_it_again() {
    let (registry, _folder) = registry().await;
    let a = device(&registry, "a").await;
    let id = integration(&registry, "azure", &[(&a, "hub-a")]).await.id;
    registry.note_departed(&id, &a).await.unwrap();
    registry.note_departed(&id, &a).await.unwrap();
    registry.remove_bindings(&id, std::slice::from_ref(&a), HubSide::Settled).await.unwrap();
    assert_eq!(registry.departed(&id).await.unwrap(), HashSet::from([a.clone()]));
    registry.add_bindings(&id, vec![crate::testing::new_binding(&a, "hub-a")]).await.unwrap();
    assert!(registry.departed(&id).await.unwrap().is_empty());
}
