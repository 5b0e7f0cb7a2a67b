use hubward_model::{BindingState, IntegrationState, OnExisting};

use super::fake_hub::KEY;
use super::kit::{Kit, until};
use crate::provision::{Create, RemoveOptions};

const GENTLY: RemoveOptions = RemoveOptions { keep_identities: false, discard_backlog: false };

#[tokio::test]
async fn remove_deletes_what_is_ours_and_leaves_the_rest_by_name() {
    let kit = Kit::with(4).await;
    kit.hub.inside().put("d1", KEY);
    let request = Create { on_existing: OnExisting::Adopt, ..kit.request("plant") };
    let id = kit.provisioner.create(request).await.unwrap().id;
    {
        let mut hub = kit.hub.inside();
        // Deleted outside, and deleted and made again by somebody else.
        hub.devices.remove("d2");
        hub.devices.remove("d3");
        hub.put("d3", KEY);
    }
    let report = kit.provisioner.remove(&id, GENTLY).await.unwrap();
    assert_eq!((report.deleted, report.already_gone), (1, 1));
    assert_eq!(report.left, ["d1", "d3"]);
    assert!(report.failed.is_empty() && report.later.is_empty());
    assert_eq!(kit.hub.inside().ids(), ["d1", "d3"]);
    assert!(kit.registry.integrations().await.unwrap().is_empty());
}

#[tokio::test]
async fn identities_may_be_kept() {
    let kit = Kit::with(2).await;
    let id = kit.create("plant").await;
    let options = RemoveOptions { keep_identities: true, ..GENTLY };
    let report = kit.provisioner.remove(&id, options).await.unwrap();
    assert_eq!((report.deleted, report.left.len()), (0, 2));
    assert_eq!(kit.hub.inside().ids(), ["d0", "d1"]);
}

#[tokio::test]
async fn a_backlog_refuses_with_its_count_unless_it_may_be_lost() {
    let kit = Kit::with(2).await;
    let id = kit.create("plant").await;
    kit.lanes.waiting.lock().unwrap().insert(kit.devices[1].clone(), 3);
    let problem = kit.provisioner.remove(&id, GENTLY).await.unwrap_err().problem();
    assert_eq!((problem.code.as_str(), problem.message.contains("3 signals")), ("backlog", true));
    assert_eq!(kit.registry.integration(&id).await.unwrap().state, IntegrationState::Active);
    let options = RemoveOptions { discard_backlog: true, ..GENTLY };
    assert_eq!(kit.provisioner.remove(&id, options).await.unwrap().discarded, 3);
}

#[tokio::test]
async fn a_removal_killed_half_way_is_finished_by_the_next_start() {
    let mut kit = Kit::with(120).await;
    let id = kit.create("plant").await;
    // The first hundred are deleted, the answer is lost, and then the hub is away until after the kill.
    kit.restart_with(|options| options.away_within = super::kit::PATIENCE).await;
    kit.hub.inside().swallow = 1;
    let (provisioner, of) = (kit.provisioner.clone(), id.clone());
    let asked = tokio::spawn(async move { provisioner.remove(&of, GENTLY).await });
    until("some are deleted", || async {
        let mut hub = kit.hub.inside();
        hub.busy = hub.deletions > 0;
        hub.busy
    })
    .await;
    kit.restart().await;
    assert!(asked.await.unwrap().is_err());
    assert!(!kit.hub.inside().devices.is_empty());
    assert_eq!(kit.registry.integration(&id).await.unwrap().state, IntegrationState::Removing);

    kit.hub.inside().busy = false;
    until("it is gone", || async { kit.registry.integrations().await.unwrap().is_empty() }).await;
    assert!(kit.hub.inside().devices.is_empty());
}

#[tokio::test]
async fn what_cannot_be_deleted_because_the_hub_is_away_is_deleted_later() {
    let kit = Kit::with(2).await;
    let id = kit.create("plant").await;
    kit.hub.inside().busy = true;
    let report = kit.provisioner.remove(&id, GENTLY).await.unwrap();
    assert_eq!(report.later, ["d0", "d1"]);
    assert!(kit.registry.integrations().await.unwrap().is_empty());
    assert_eq!(kit.provisioner.pending_deletions().await.unwrap().len(), 2);

    kit.hub.inside().busy = false;
    until("all is deleted", || async { kit.provisioner.pending_deletions().await.unwrap().is_empty() }).await;
    assert!(kit.hub.inside().devices.is_empty());
}

#[tokio::test]
async fn a_pending_deletion_spares_what_somebody_else_made_meanwhile() {
    let kit = Kit::with(1).await;
    let id = kit.create("plant").await;
    kit.hub.inside().busy = true;
    kit.provisioner.remove(&id, GENTLY).await.unwrap();
    {
        let mut hub = kit.hub.inside();
        hub.devices.remove("d0");
        hub.put("d0", KEY);
        hub.busy = false;
    }
    until("it is settled", || async { kit.provisioner.pending_deletions().await.unwrap().is_empty() }).await;
    assert_eq!(kit.hub.inside().ids(), ["d0"]);
}

#[tokio::test]
async fn an_integration_may_come_back_while_its_old_identities_wait_to_be_deleted() {
    let kit = Kit::with(2).await;
    let id = kit.create("plant").await;
    kit.hub.inside().locked = true;
    assert_eq!(kit.provisioner.remove(&id, GENTLY).await.unwrap().later.len(), 2);
    kit.hub.inside().locked = false;
    let id = kit.create("plant").await;
    assert!(kit.binding(&id, 0).await.made_by_us);
    assert!(kit.provisioner.pending_deletions().await.unwrap().is_empty());
    assert_eq!(kit.hub.inside().ids(), ["d0", "d1"]);
}

#[tokio::test]
async fn rounds_of_deletions_at_the_same_time_leave_none_to_each_other() {
    let kit = Kit::with(8).await;
    let id = kit.create("plant").await;
    kit.hub.inside().locked = true;
    assert_eq!(kit.provisioner.remove(&id, GENTLY).await.unwrap().later.len(), 8);
    kit.hub.inside().locked = false;
    let shared = &kit.provisioner.shared;
    let rounds = futures_util::future::join_all((0..4).map(|_| shared.delete_pending(None))).await;
    assert_eq!(rounds, [true; 4], "a round took what another had done for a hub that is away");
    assert!(kit.hub.inside().devices.is_empty());
}

#[tokio::test]
async fn what_waits_to_be_deleted_makes_way_for_a_new_binding_but_never_takes_an_adopted_identity() {
    for (on_existing, left) in [(OnExisting::Refuse, false), (OnExisting::Adopt, true)] {
        let kit = Kit::with(1).await;
        let id = kit.create("plant").await;
        let old = kit.binding(&id, 0).await.generation_id;
        kit.hub.inside().locked = true;
        assert_eq!(kit.provisioner.remove(&id, GENTLY).await.unwrap().later.len(), 1);
        // Bound again before any round of deletions could reach the hub.
        let lock = kit.provisioner.shared.hub_lock(&format!("localhost:{}", kit.hub.port));
        let writing = lock.lock().await;
        kit.hub.inside().locked = false;
        let request = Create { on_existing, ..kit.request("plant") };
        let (provisioner, asked) = (kit.provisioner.clone(), request);
        let asked = tokio::spawn(async move { provisioner.create(asked).await });
        until("it is stored", || async { !kit.registry.integrations().await.unwrap().is_empty() }).await;
        if left {
            // As if the deletion came last: the new binding sends as the old identity.
            let new = kit.registry.integrations().await.unwrap().remove(0).id;
            let change = hubward_registry::BindingChange {
                state: Some(BindingState::Delivering),
                made_by_us: Some(false),
                generation_id: Some(old.clone()),
                ..hubward_registry::BindingChange::of(kit.devices[0].clone())
            };
            kit.registry.change_bindings(&new, vec![change]).await.unwrap();
        }
        drop(writing);
        asked.await.unwrap().unwrap();
        assert!(kit.registry.pending_deletions().await.unwrap().is_empty());
        let now = kit.hub.inside().devices["d0"]["generationId"].as_str().map(str::to_owned);
        assert_eq!(now == old, left, "{on_existing:?}");
    }
}

#[tokio::test]
async fn a_removed_device_is_deleted_in_every_integration() {
    let kit = Kit::with(2).await;
    let first = kit.create("first").await;
    let mut request = kit.request("second");
    request.device_id_template = Some("second-{name}".into());
    let second = kit.provisioner.create(request).await.unwrap().id;
    let report = kit.provisioner.remove_device(&kit.devices[0], false).await.unwrap();
    assert_eq!((report.deleted, report.later.len()), (2, 0));
    assert_eq!(kit.hub.inside().ids(), ["d1", "second-d1"]);
    assert!(kit.registry.find_device("d0").await.is_err());
    for id in [first, second] {
        assert_eq!(kit.states(&id).await.len(), 1);
    }
}

#[tokio::test]
async fn a_removed_device_of_a_hub_that_is_away_is_gone_here_and_deleted_there_later() {
    let kit = Kit::with(1).await;
    let id = kit.create("plant").await;
    kit.lanes.waiting.lock().unwrap().insert(kit.devices[0].clone(), 2);
    let problem = kit.provisioner.remove_device(&kit.devices[0], false).await.unwrap_err().problem();
    assert_eq!(problem.code, "backlog");
    assert!(!kit.registry.device(&kit.devices[0]).await.unwrap().removing);

    kit.hub.inside().busy = true;
    let report = kit.provisioner.remove_device(&kit.devices[0], true).await.unwrap();
    assert_eq!((report.later.as_slice(), report.discarded), (&["d0".to_owned()][..], 2));
    assert!(kit.registry.device(&kit.devices[0]).await.is_err());
    assert!(kit.states(&id).await.is_empty());

    kit.hub.inside().busy = false;
    until("it is deleted there", || async { kit.hub.inside().devices.is_empty() }).await;
}

#[tokio::test]
async fn a_device_leaving_at_the_time_of_a_kill_leaves_after_the_next_start() {
    let mut kit = Kit::with(1).await;
    let id = kit.create("plant").await;
    let mut change = hubward_registry::BindingChange::of(kit.devices[0].clone());
    change.state = Some(BindingState::Removing);
    kit.registry.change_bindings(&id, vec![change]).await.unwrap();
    kit.restart().await;
    until("it left", || async { kit.states(&id).await.is_empty() }).await;
    assert!(kit.hub.inside().devices.is_empty());
}
