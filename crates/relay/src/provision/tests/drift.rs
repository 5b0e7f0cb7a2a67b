//! Bindings compared with the hub without anybody asking.

use std::time::Duration;

use hubward_model::{BindingState, IntegrationId, OnMissing};
use hubward_registry::alarms::AlarmKind;
use serde_json::json;

use super::fake_hub::KEY;
use super::kit::{Kit, until};
use crate::provision::{Create, DriftReport, RemoveOptions};

impl Kit {
    /// Compares all the time.
    async fn compare(&mut self) {
        self.restart_with(|options| options.healing.look_every = Duration::from_millis(5)).await;
    }

    async fn drift(&self, id: &IntegrationId) -> DriftReport {
        self.provisioner.drift(id).await.unwrap()
    }
}

#[tokio::test]
async fn what_changed_outside_is_noticed_though_no_lane_has_anything_to_send() {
    let mut kit = Kit::with(4).await;
    let id = kit.create("plant").await;
    {
        let mut hub = kit.hub.inside();
        hub.devices.get_mut("d1").unwrap()["authentication"]["symmetricKey"]["primaryKey"] = json!(KEY);
        hub.devices.get_mut("d2").unwrap()["status"] = json!("disabled");
    }
    kit.delete("d0");
    assert_eq!(kit.drift(&id).await.by, None, "it says that nothing was looked at");
    kit.compare().await;
    kit.until_back(&id, 0).await;
    until("keys are read", || async { kit.alarm(AlarmKind::IdentityRekeyed, &id, Some(1)) }).await;
    until("it is told", || async { kit.alarm(AlarmKind::IdentityDisabled, &id, Some(2)) }).await;
    until("the report shows what is left", || async {
        let report = kit.drift(&id).await;
        // While one is made again it is not compared.
        (report.complete_at.is_some(), report.of) == (true, 4)
            && report.differences.iter().map(|one| (one.hub_device_id.as_str(), one.what)).eq([("d2", "disabled")])
    })
    .await;
    let report = kit.drift(&id).await;
    assert_eq!((report.bound, report.by), (4, Some("list")));

    kit.hub.inside().devices.get_mut("d2").unwrap()["status"] = json!("enabled");
    until("it is over", || async { !kit.alarm(AlarmKind::IdentityDisabled, &id, Some(2)) }).await;
    until("nothing differs", || async { kit.drift(&id).await.differences.is_empty() }).await;
}

#[tokio::test]
async fn after_reconcile_the_report_shows_what_a_person_has_to_repair() {
    let kit = Kit::with(3).await;
    let id = kit.create("plant").await;
    kit.hub.inside().devices.get_mut("d2").unwrap()["status"] = json!("disabled");
    kit.delete("d0");
    // Something that nobody can repair from here is left, which may make it an error.
    let _ = kit.provisioner.reconcile(&id).await;
    let report = kit.drift(&id).await;
    let left: Vec<_> = report.differences.iter().map(|one| (one.hub_device_id.as_str(), one.what)).collect();
    assert_eq!((left, report.by), (vec![("d2", "disabled")], Some("list")));
    kit.hub.inside().devices.get_mut("d2").unwrap()["status"] = json!("enabled");
    kit.provisioner.reconcile(&id).await.unwrap();
    assert_eq!(kit.drift(&id).await.differences, []);
}

#[tokio::test]
async fn one_after_the_other_is_asked_for_where_no_list_shows_the_whole_hub() {
    let mut kit = Kit::with(3).await;
    let request = Create { on_missing: OnMissing::Hold, ..kit.request("plant") };
    let id = kit.provisioner.create(request).await.unwrap().id;
    {
        // The list ends before ours.
        let mut hub = kit.hub.inside();
        for n in 0..1000 {
            hub.put(&format!("a{n:04}"), KEY);
        }
    }
    kit.delete("d1");
    kit.compare().await;
    until("the round is complete", || async { kit.drift(&id).await.complete_at.is_some() }).await;
    let report = kit.drift(&id).await;
    assert_eq!((report.by, report.of), (Some("get"), 3));
    assert_eq!(report.differences.iter().map(|one| one.hub_device_id.as_str()).collect::<Vec<_>>(), ["d1"]);
    until("it holds", || async { kit.binding(&id, 1).await.state == BindingState::Missing }).await;
    // Somebody makes it again by hand: its keys are read, its lane goes on.
    kit.hub.inside().put("d1", KEY);
    until("it sends", || async { kit.binding(&id, 1).await.state == BindingState::Delivering }).await;
    until("nothing differs", || async { kit.drift(&id).await.differences.is_empty() }).await;
}

#[tokio::test]
async fn identities_of_ours_that_nobody_uses_are_listed_until_they_are_gone() {
    let mut kit = Kit::with(2).await;
    let id = kit.create("stays").await;
    let mut request = kit.request("leaves");
    request.device_id_template = Some("left-{name}".to_owned());
    let leaves = kit.provisioner.create(request).await.unwrap().id;
    until("their making is known", || async { kit.binding(&leaves, 1).await.generation_id.is_some() }).await;
    let options = RemoveOptions { keep_identities: true, discard_backlog: false };
    kit.provisioner.remove(&leaves, options).await.unwrap();
    kit.compare().await;
    until("both are seen", || async {
        let orphans = kit.drift(&id).await.orphans;
        orphans.len() == 2 && orphans.iter().all(|orphan| orphan.seen == Some(true))
    })
    .await;
    until("it is told", || async { kit.alarm(AlarmKind::Orphans, &id, None) }).await;
    kit.delete("left-d0");
    kit.delete("left-d1");
    until("none is left", || async { kit.drift(&id).await.orphans.is_empty() }).await;
    until("it is over", || async { !kit.alarm(AlarmKind::Orphans, &id, None) }).await;
}
