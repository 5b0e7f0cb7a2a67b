use std::slice::from_ref;

use hubward_model::DeviceKind;

use super::*;
use crate::testing::{device, integration, new_binding, new_integration, registry};
use crate::{Edit, NewDevice, NewIntegration};

#[tokio::test]
async fn a_binding_is_stored_with_its_start_and_its_keys_before_the_identity_exists() {
    let (registry, _folder) = registry().await;
    let board = device(&registry, "board").await;
    let azure = integration(&registry, "azure", &[(&board, "board-1")]).await;
    let binding = registry.binding(&azure.id, &board).await.unwrap();
    assert_eq!((binding.state, binding.made_by_us), (BindingState::Creating, false));
    assert_eq!((binding.start, binding.delivered), (Offset::from_raw(7), 0));
    assert_eq!(binding.host_name, "hub.azure-devices.net");
    let keys = registry.keys(&azure.id, &board).await.unwrap();
    assert_eq!(keys.primary.expose_secret(), "primary-key-of-board-1");
    assert_eq!(keys.secondary.expose_secret(), "secondary-key-of-board-1");
    assert_eq!(registry.bindings(&azure.id).await.unwrap(), from_ref(&binding));
    assert_eq!(registry.bindings_of(&board).await.unwrap(), [binding]);
}

#[tokio::test]
async fn a_hub_device_id_is_unique_for_its_hub_over_all_integrations() {
    let (registry, _folder) = registry().await;
    let (a, b) = (device(&registry, "a").await, device(&registry, "b").await);
    integration(&registry, "first", &[(&a, "board-1")]).await;
    // The same hub, whatever the case it is written in.
    let same = NewIntegration { host_name: "HUB.Azure-Devices.net".to_owned(), ..new_integration("second") };
    let refused = registry.add_integration(same.clone(), vec![new_binding(&b, "board-1")]).await;
    match refused.unwrap_err() {
        Error::HubDeviceIdTaken { hub_device_id, integration, .. } => {
            assert_eq!((hub_device_id.as_str(), integration.as_str()), ("board-1", "first"));
        }
        error => panic!("{error}"),
    }
    assert!(registry.find_integration("second").await.is_err(), "nothing is left of it");
    let second = registry.add_integration(same, vec![new_binding(&b, "Board-1")]).await.unwrap();
    let rename = BindingChange { hub_device_id: Some("board-1".to_owned()), ..BindingChange::of(b.clone()) };
    let refused = registry.change_bindings(&second.id, vec![rename]).await;
    assert!(matches!(refused, Err(Error::HubDeviceIdTaken { .. })));
    let elsewhere = NewIntegration { host_name: "other.azure-devices.net".to_owned(), ..new_integration("third") };
    registry.add_integration(elsewhere, vec![new_binding(&b, "board-1")]).await.unwrap();
    let owner = registry.hub_device_id_owner("Hub.azure-devices.net", "board-1").await.unwrap();
    assert_eq!(owner.unwrap().device, a);
}

#[tokio::test]
async fn devices_are_added_all_or_none_and_each_once() {
    let (registry, _folder) = registry().await;
    let (a, b) = (device(&registry, "a").await, device(&registry, "b").await);
    let azure = integration(&registry, "azure", &[(&a, "a-1")]).await;
    let again = registry.add_bindings(&azure.id, vec![new_binding(&b, "b-1"), new_binding(&a, "a-2")]).await;
    assert!(matches!(again, Err(Error::AlreadyBound { device, .. }) if device == "a"));
    let unknown = new_binding(&DeviceId::random(), "x-1");
    assert!(matches!(registry.add_bindings(&azure.id, vec![unknown]).await, Err(Error::NotFound { .. })));
    assert_eq!(registry.bindings(&azure.id).await.unwrap().len(), 1);
    registry.add_bindings(&azure.id, vec![new_binding(&b, "b-1")]).await.unwrap();
    assert_eq!(registry.all_keys(&azure.id).await.unwrap().len(), 2);
}

#[tokio::test]
async fn thousands_of_devices_join_in_one_go() {
    let (registry, _folder) = registry().await;
    let new = (0..3000).map(|n| NewDevice::new(format!("d{n}").parse().unwrap(), DeviceKind::Mqtt)).collect();
    let devices = registry.add_devices(new).await.unwrap();
    let bindings = devices.iter().map(|made| new_binding(&made.value.id, made.value.name.as_str())).collect();
    let azure = registry.add_integration(new_integration("azure"), bindings).await.unwrap();
    let change = |made: &crate::WithSecret<crate::Device>| BindingChange {
        state: Some(BindingState::Delivering),
        made_by_us: Some(true),
        generation_id: Some(Some("1".to_owned())),
        ..BindingChange::of(made.value.id.clone())
    };
    registry.change_bindings(&azure.id, devices.iter().map(change).collect()).await.unwrap();
    let keys = registry.all_keys(&azure.id).await.unwrap();
    assert_eq!(keys.len(), 3000);
    assert_eq!(keys[&devices[2999].value.id].primary.expose_secret(), "primary-key-of-d2999");
    assert_eq!(registry.made_identities(&azure.host_name).await.unwrap().len(), 3000);
}

#[tokio::test]
async fn a_change_touches_what_it_names_and_may_take_a_word_back() {
    let (registry, _folder) = registry().await;
    let board = device(&registry, "board").await;
    let azure = integration(&registry, "azure", &[(&board, "board-1")]).await;
    let of = || BindingChange::of(board.clone());
    let failed = BindingChange {
        state: Some(BindingState::Conflict),
        last_error: Some(Some("it is there".to_owned())),
        failed_step: Some(Some("create".to_owned())),
        ..of()
    };
    registry.change_bindings(&azure.id, vec![failed]).await.unwrap();
    let adopted = BindingChange {
        state: Some(BindingState::Delivering),
        generation_id: Some(Some("638".to_owned())),
        keys: Some(Keys { primary: "theirs".into(), secondary: "theirs too".into() }),
        last_error: Some(None),
        ..of()
    };
    registry.change_bindings(&azure.id, vec![adopted]).await.unwrap();
    let binding = registry.binding(&azure.id, &board).await.unwrap();
    assert_eq!((binding.state, binding.last_error), (BindingState::Delivering, None));
    assert_eq!(binding.failed_step.as_deref(), Some("create"));
    assert_eq!(registry.keys(&azure.id, &board).await.unwrap().primary.expose_secret(), "theirs");
    assert!(!registry.is_made_by_us(&azure.host_name, "board-1", "638").await.unwrap(), "adopted, not made");
    let unknown = BindingChange::of(DeviceId::random());
    assert!(matches!(registry.change_bindings(&azure.id, vec![of(), unknown]).await, Err(Error::NotFound { .. })));
}

#[tokio::test]
async fn only_identities_made_by_us_wait_to_be_deleted_with_all_it_takes() {
    let (registry, _folder) = registry().await;
    let (ours, theirs) = (device(&registry, "ours").await, device(&registry, "theirs").await);
    let unsure = device(&registry, "unsure").await;
    let all = [(&ours, "ours-1"), (&theirs, "theirs-1"), (&unsure, "unsure-1")];
    let azure = integration(&registry, "azure", &all).await;
    let made = |device: &DeviceId, made| BindingChange {
        state: Some(BindingState::Delivering),
        made_by_us: Some(made),
        generation_id: Some(Some("638".to_owned())),
        ..BindingChange::of(device.clone())
    };
    registry.change_bindings(&azure.id, vec![made(&ours, true), made(&theirs, false)]).await.unwrap();
    let removed = registry.remove_integration(&azure.id, HubSide::DeleteLater).await.unwrap();
    assert_eq!((removed.bindings, removed.deletions), (3, 2));
    for device in [&ours, &theirs, &unsure] {
        registry.remove_device(device).await.unwrap();
    }

    let pending = registry.pending_deletions().await.unwrap();
    let of = |id: &str| pending.iter().find(|pending| pending.hub_device_id == id).unwrap();
    assert_eq!(pending.len(), 2);
    assert_eq!((of("ours-1").device.as_str(), of("ours-1").integration.as_str()), ("ours", "azure"));
    let key = |text: &str| SecretString::from(text);
    assert!(of("ours-1").is_ours("638", &key("rolled")) && !of("ours-1").is_ours("639", &key("rolled")));
    let unsure = of("unsure-1");
    assert!(unsure.is_ours("1", &key("primary-key-of-unsure-1")) && !unsure.is_ours("1", &key("somebody else's")));
    let string = registry.deletion_connection_string(&unsure.id).await.unwrap();
    assert!(string.expose_secret().ends_with("policy-key-of-azure"));

    registry.deletion_failed(&unsure.id, "hub away").await.unwrap();
    let again = registry.pending_deletions().await.unwrap();
    let again = again.iter().find(|pending| pending.id == unsure.id).unwrap();
    assert_eq!((again.attempts, again.last_error.as_deref()), (1, Some("hub away")));
    assert!(registry.is_made_by_us(&azure.host_name, "ours-1", "638").await.unwrap());
    registry.deletion_done(&of("ours-1").id).await.unwrap();
    assert!(!registry.is_made_by_us(&azure.host_name, "ours-1", "638").await.unwrap());
    assert!(matches!(registry.deletion_done("gone").await, Err(Error::NotFound { .. })));
    assert_eq!(registry.pending_deletions().await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_newer_connection_string_also_serves_what_waits_to_be_deleted_at_its_hub() {
    let (registry, _folder) = registry().await;
    let board = device(&registry, "board").await;
    let azure = integration(&registry, "azure", &[(&board, "board-1")]).await;
    registry.remove_bindings(&azure.id, from_ref(&board), HubSide::DeleteLater).await.unwrap();
    let edit = Edit { connection_string: Some("HostName=hub;SharedAccessKey=rolled".into()), ..Edit::default() };
    registry.edit_integration(&azure.id, None, edit).await.unwrap();
    let pending = registry.pending_deletions().await.unwrap().remove(0);
    let string = registry.deletion_connection_string(&pending.id).await.unwrap();
    assert!(string.expose_secret().ends_with("rolled"));
}

#[tokio::test]
async fn removing_bindings_may_be_done_again() {
    let (registry, _folder) = registry().await;
    let board = device(&registry, "board").await;
    let azure = integration(&registry, "azure", &[(&board, "board-1")]).await;
    let removed = registry.remove_bindings(&azure.id, from_ref(&board), HubSide::Settled).await.unwrap();
    assert_eq!(removed, Removed { bindings: 1, ..Removed::default() });
    let removed = registry.remove_bindings(&azure.id, from_ref(&board), HubSide::DeleteLater).await.unwrap();
    assert_eq!(removed, Removed::default());
    registry.add_bindings(&azure.id, vec![new_binding(&board, "board-1")]).await.unwrap();
}

#[tokio::test]
async fn an_identity_that_hubward_made_is_an_orphan_while_nothing_needs_it() {
    let (registry, _folder) = registry().await;
    let board = device(&registry, "board").await;
    let azure = integration(&registry, "azure", &[(&board, "board-1")]).await;
    let orphans = async || -> Vec<String> {
        let found = registry.orphans(&azure.host_name, 10).await.unwrap();
        found.into_iter().map(|one| one.hub_device_id).collect()
    };
    let made = |id: Option<&str>, generation: &str| BindingChange {
        hub_device_id: id.map(str::to_owned),
        made_by_us: Some(true),
        generation_id: Some(Some(generation.to_owned())),
        ..BindingChange::of(board.clone())
    };
    registry.change_bindings(&azure.id, vec![made(None, "1")]).await.unwrap();
    assert!(orphans().await.is_empty(), "its binding sends as it");
    registry.change_bindings(&azure.id, vec![made(Some("board-2"), "2")]).await.unwrap();
    assert_eq!(orphans().await, ["board-1"], "the binding has another");
    registry.remove_bindings(&azure.id, from_ref(&board), HubSide::DeleteLater).await.unwrap();
    assert_eq!(orphans().await, ["board-1"], "the other is about to be deleted");
    let pending = registry.pending_deletions().await.unwrap().remove(0);
    registry.add_bindings(&azure.id, vec![new_binding(&board, "board-1")]).await.unwrap();
    assert!(orphans().await.is_empty(), "it is used again");
    registry.remove_bindings(&azure.id, &[board], HubSide::Settled).await.unwrap();
    assert_eq!(orphans().await, ["board-1"]);
    registry.deletion_done(&pending.id).await.unwrap();
    assert_eq!(orphans().await, ["board-1"], "what was deleted is forgotten");
}
