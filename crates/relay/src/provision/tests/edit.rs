use hubward_model::{BindingState, BodyFormat, IntegrationState};
use hubward_registry::{ExposeSecret as _, SecretString};

use super::fake_hub::KEY;
use super::kit::{Kit, bind};
use crate::provision::{Create, Edit};

async fn kit_with_one_of(devices: usize) -> (Kit, hubward_model::IntegrationId) {
    let kit = Kit::with(devices).await;
    let request = Create { devices: vec![bind("d0")], ..kit.request("plant") };
    let id = kit.provisioner.create(request).await.unwrap().id;
    (kit, id)
}

#[tokio::test]
async fn name_topic_body_and_string_change_while_the_identities_stay() {
    let (kit, id) = kit_with_one_of(1).await;
    let calls = kit.hub.inside().bulk_calls;
    let string = kit.hub.connection_string().replace("registryReadWrite", "other");
    let edit = Edit {
        name: Some("works".into()),
        topic: Some("Temp/{name}".into()),
        body: Some(BodyFormat::Json),
        connection_string: Some(SecretString::from(format!(" \"{string}\"\n"))),
        ..Edit::default()
    };
    let now = kit.provisioner.edit(&id, edit).await.unwrap().integration;
    assert_eq!((now.name.as_str(), now.settings.topic.as_str()), ("works", "Temp/{name}"));
    assert_eq!((now.settings.body, now.policy.as_str()), (BodyFormat::Json, "other"));
    assert_eq!((now.state, now.version), (IntegrationState::Active, 2));
    assert_eq!(kit.registry.connection_string(&id).await.unwrap().expose_secret(), string);
    assert_eq!(kit.hub.inside().bulk_calls, calls);
}

#[tokio::test]
async fn a_refused_edit_changes_nothing() {
    let (kit, id) = kit_with_one_of(3).await;
    kit.hub.inside().put("d2", KEY);
    kit.lanes.waiting.lock().unwrap().insert(kit.devices[0].clone(), 12);
    let before = kit.registry.integration(&id).await.unwrap();
    let port = format!(":{}", kit.hub.port);
    let elsewhere = SecretString::from(kit.hub.connection_string().replace(&port, ":1"));
    let topic = || Some("New".to_owned());
    for (code, edit) in [
        ("other_hub", Edit { topic: topic(), connection_string: Some(elsewhere), ..Edit::default() }),
        ("topic_character", Edit { topic: Some("#".into()), ..Edit::default() }),
        ("unknown_device", Edit { topic: topic(), add_devices: vec![bind("nobody")], ..Edit::default() }),
        ("already_bound", Edit { topic: topic(), add_devices: vec![bind("d0")], ..Edit::default() }),
        ("not_bound", Edit { topic: topic(), remove_devices: vec!["d1".into()], ..Edit::default() }),
        ("conflict", Edit { topic: topic(), add_devices: vec![bind("d1"), bind("d2")], ..Edit::default() }),
        ("backlog", Edit { topic: topic(), remove_devices: vec!["d0".into()], ..Edit::default() }),
        ("stale", Edit { topic: topic(), expected_version: Some(99), ..Edit::default() }),
    ] {
        let problem = kit.provisioner.edit(&id, edit).await.unwrap_err().problem();
        assert_eq!(problem.code, code, "{}", problem.message);
        if code == "backlog" {
            assert!(
                problem.message.contains("12 signals") && problem.message.contains("d0 (12)"),
                "{}",
                problem.message
            );
        }
    }
    assert_eq!(kit.registry.integration(&id).await.unwrap(), before);
    assert_eq!(kit.states(&id).await, [("d0".to_owned(), BindingState::Delivering)]);
    assert_eq!(kit.hub.inside().ids(), ["d0", "d2"]);
}

#[tokio::test]
async fn devices_join_and_leave_and_a_leaving_ones_own_identity_is_deleted() {
    let (kit, id) = kit_with_one_of(3).await;
    let edit = Edit { add_devices: vec![bind("d1"), bind("d2")], remove_devices: vec!["d0".into()], ..Edit::default() };
    let report = kit.provisioner.edit(&id, edit).await.unwrap();
    assert_eq!((report.removed.deleted, report.removed.discarded), (1, 0));
    assert_eq!(kit.hub.inside().ids(), ["d1", "d2"]);
    let delivering = |id: &str| (id.to_owned(), BindingState::Delivering);
    assert_eq!(kit.states(&id).await, [delivering("d1"), delivering("d2")]);
    assert!(kit.registry.made_identities(&report.integration.host_name).await.unwrap().len() == 2);
}

#[tokio::test]
async fn a_backlog_is_lost_only_on_demand_and_counted() {
    let (kit, id) = kit_with_one_of(1).await;
    kit.lanes.waiting.lock().unwrap().insert(kit.devices[0].clone(), 5);
    let edit = Edit { remove_devices: vec!["d0".into()], discard_backlog: true, ..Edit::default() };
    let report = kit.provisioner.edit(&id, edit).await.unwrap();
    assert_eq!((report.removed.deleted, report.removed.discarded), (1, 5));
    assert!(kit.states(&id).await.is_empty());
}

#[tokio::test]
async fn all_devices_can_be_taken_later() {
    let (kit, id) = kit_with_one_of(4).await;
    kit.provisioner.edit(&id, Edit { all_devices: Some(true), ..Edit::default() }).await.unwrap();
    assert_eq!(kit.states(&id).await.len(), 4);
    assert_eq!(kit.hub.inside().devices.len(), 4);
}
