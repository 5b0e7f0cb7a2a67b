use std::time::Duration;

use hubward_iothub::registry::IfMatch;
use hubward_model::{BindingState, IntegrationState, OnMissing};
use hubward_registry::DeadLetterFilter;
use hubward_relay::DeviceStatus;
use hubward_relay::provision::Edit;

use crate::kit::{Kit, PATIENCE};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disabled_identity_holds_its_lane_alone_and_all_arrives_when_it_is_enabled() {
    let kit = Kit::new(3).await;
    let integration = kit.integrate().await;
    kit.until_status(&integration, |device| device.attached).await;
    let identities = kit.identities();
    let hub_device_id = kit.until_status(&integration, |_| true).await.hub_device_id;
    let mut identity = identities.get(&hub_device_id).await.unwrap().unwrap();
    identity.enabled = false;
    let identity = identities.update(&identity, IfMatch::Any).await.unwrap();
    for n in 0..10 {
        for device in &kit.devices {
            kit.publish(device, n.to_string()).await;
        }
    }
    kit.until_arrived(20).await;
    let shown = kit.until_status(&integration, |device| device.state != BindingState::Delivering).await;
    assert!(shown.last_error.is_some());
    assert_eq!(kit.handle().status(&integration.id).await.unwrap().state, IntegrationState::Attention);
    // A test on it hears the hub's word soon.
    let results = kit.handle().test(&integration.id, Some(&kit.devices[0])).await.unwrap();
    assert!(!results[0].accepted && results[0].error.is_some(), "{results:?}");

    let mut identity = identity;
    identity.enabled = true;
    identities.update(&identity, IfMatch::Any).await.unwrap();
    kit.until_arrived(31).await;
    // The hub's last word comes after the signal is there.
    let delivers = |device: &DeviceStatus| device.state == BindingState::Delivering && device.delivered == 11;
    let shown = kit.until_status(&integration, delivers).await;
    assert_eq!((shown.backlog, shown.last_error), (0, None));
    kit.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deleted_identity_holds_its_lane_and_drain_says_what_waits() {
    let kit = Kit::new(2).await;
    let integration = kit.integrate().await;
    let hub_device_id = kit.until_status(&integration, |device| device.attached).await.hub_device_id;
    // Else it is made again while this looks.
    let hold = Edit { on_missing: Some(OnMissing::Hold), ..Edit::default() };
    kit.handle().provisioner().edit(&integration.id, hold).await.unwrap();
    kit.identities().delete(&hub_device_id, IfMatch::Any).await.unwrap();
    for device in &kit.devices {
        kit.publish(device, "x").await;
    }
    kit.until_arrived(1).await;
    kit.until_status(&integration, |device| device.state != BindingState::Delivering).await;
    assert_eq!(kit.handle().drain(&integration.id, Some(&kit.devices[1]), PATIENCE).await.unwrap(), []);
    let left = kit.handle().drain(&integration.id, None, Duration::from_millis(100)).await.unwrap();
    assert_eq!(left, [(kit.devices[0].clone(), 1)]);
    let backlog = kit.handle().backlog(&integration.id).await;
    assert_eq!((backlog[&kit.devices[0]], backlog[&kit.devices[1]]), (1, 0));
    kit.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_letter_can_be_sent_again_or_discarded() {
    let kit = Kit::new(1).await;
    let integration = kit.integrate().await;
    kit.publish(&kit.devices[0], vec![0; 262_144]).await;
    kit.publish(&kit.devices[0], "after").await;
    kit.until_arrived(1).await;
    let shown = kit.until_status(&integration, |device| device.dead_letters == 1 && device.delivered == 1).await;
    assert_eq!(shown.backlog, 0);
    // It is still too large: it stays, with the hub's words.
    let report = kit.handle().retry_dead_letters(&DeadLetterFilter::default()).await.unwrap();
    assert_eq!((report.done, report.failed.len()), (0, 1));
    assert_eq!(kit.handle().discard_dead_letters(&DeadLetterFilter::default()).await.unwrap(), 1);
    kit.until_status(&integration, |device| device.dead_letters == 0).await;
    kit.end().await;
}
