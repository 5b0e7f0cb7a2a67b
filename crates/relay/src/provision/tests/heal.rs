//! Identities changed outside: what lanes say of them, what is asked, and what is done.

use std::time::{Duration, SystemTime};

use hubward_iothub::clock::Clock;
use hubward_model::{BindingState, IntegrationId, IntegrationState, OnMissing, OnMissingKeys};
use hubward_registry::alarms::{AlarmKey, AlarmKind};
use hubward_registry::{AuditFilter, ExposeSecret as _};
use serde_json::json;

use super::fake_hub::KEY;
use super::kit::{Kit, until};
use crate::finding::Finding;
use crate::provision::{Create, Edit};
use crate::status::HubStatus;
use crate::suspicions::Told;

impl Kit {
    /// What the lane of a device says.
    fn suspect(&self, id: &IntegrationId, device: usize, finding: Finding) {
        self.suspicions.tell(id, &self.devices[device], Told::Suspect(finding, "words".to_owned()));
    }

    pub(super) fn alarm(&self, kind: AlarmKind, id: &IntegrationId, device: Option<usize>) -> bool {
        self.registry.is_alarm_open(&match device {
            Some(device) => AlarmKey::binding(kind, id, &self.devices[device]),
            None => AlarmKey::integration(kind, id),
        })
    }

    async fn until_alarm(&self, kind: AlarmKind, id: &IntegrationId, device: Option<usize>) {
        until(kind.as_str(), || async { self.alarm(kind, id, device) }).await;
    }

    pub(super) fn delete(&self, device: &str) {
        assert!(self.hub.inside().devices.remove(device).is_some());
    }

    pub(super) async fn until_back(&self, id: &IntegrationId, device: usize) {
        let name = format!("d{device}");
        until("it is made again", || async {
            self.hub.inside().devices.contains_key(&name)
                && self.binding(id, device).await.state == BindingState::Delivering
        })
        .await;
    }

    async fn primary(&self, id: &IntegrationId, device: usize) -> String {
        self.registry.keys(id, &self.devices[device]).await.unwrap().primary.expose_secret().to_owned()
    }

    fn primary_there(&self, device: &str) -> String {
        let hub = self.hub.inside();
        hub.devices[device]["authentication"]["symmetricKey"]["primaryKey"].as_str().unwrap().to_owned()
    }

    async fn audited(&self, what: &str) -> usize {
        let filter = AuditFilter { what: Some(what.to_owned()), ..AuditFilter::default() };
        self.registry.audit_log(&filter, 100).await.unwrap().len()
    }
}

#[tokio::test]
async fn a_deleted_identity_is_made_again_with_the_same_keys_and_the_lane_goes_on() {
    let kit = Kit::with(2).await;
    let id = kit.create("plant").await;
    let key = kit.primary(&id, 0).await;
    kit.delete("d0");
    // Whatever the hub said on the wire: its registry decides.
    kit.suspect(&id, 0, Finding::Keys);
    kit.until_back(&id, 0).await;
    assert_eq!((kit.primary(&id, 0).await, kit.primary_there("d0")), (key.clone(), key));
    until("its lane tries again", || async { kit.lanes.woken.lock().unwrap().contains(&kit.devices[0]) }).await;
    assert!(kit.binding(&id, 0).await.made_by_us);
    assert!(kit.alarm(AlarmKind::IdentityRecreated, &id, Some(0)));
    assert_eq!(kit.audited("identity.recreate").await, 1);
}

#[tokio::test]
async fn it_gets_new_keys_where_the_user_chose_so() {
    let kit = Kit::with(1).await;
    let request = Create { on_missing_keys: OnMissingKeys::New, ..kit.request("plant") };
    let id = kit.provisioner.create(request).await.unwrap().id;
    let key = kit.primary(&id, 0).await;
    kit.delete("d0");
    kit.suspect(&id, 0, Finding::Missing);
    kit.until_back(&id, 0).await;
    assert_ne!(kit.primary(&id, 0).await, key);
    assert_eq!(kit.primary(&id, 0).await, kit.primary_there("d0"));
}

#[tokio::test]
async fn deleted_again_within_a_day_it_is_held_until_a_person_says_so() {
    let mut kit = Kit::with(1).await;
    let id = kit.create("plant").await;
    kit.delete("d0");
    kit.suspect(&id, 0, Finding::Missing);
    kit.until_back(&id, 0).await;
    kit.delete("d0");
    kit.suspect(&id, 0, Finding::Missing);
    kit.until_alarm(AlarmKind::DeletedTwice, &id, Some(0)).await;
    assert_eq!(kit.binding(&id, 0).await.state, BindingState::Missing);
    // Over a restart too.
    kit.restart().await;
    kit.provisioner.reconcile(&id).await.unwrap();
    kit.until_back(&id, 0).await;
    assert!(!kit.alarm(AlarmKind::DeletedTwice, &id, Some(0)));
    // A person's word is for this time, not for the next.
    kit.delete("d0");
    kit.suspect(&id, 0, Finding::Missing);
    kit.until_alarm(AlarmKind::DeletedTwice, &id, Some(0)).await;
    assert!(kit.hub.inside().devices.is_empty());
}

#[tokio::test]
async fn many_gone_together_are_held_until_a_person_says_so() {
    let kit = Kit::with(12).await;
    let id = kit.create("plant").await;
    for n in 0..10 {
        kit.delete(&format!("d{n}"));
    }
    // One lane is enough: the others have nothing to send.
    kit.suspect(&id, 3, Finding::Missing);
    kit.until_alarm(AlarmKind::ManyIdentitiesGone, &id, None).await;
    assert_eq!(kit.binding(&id, 3).await.state, BindingState::Missing);
    assert_eq!(kit.hub.inside().devices.len(), 2);
    kit.provisioner.reconcile(&id).await.unwrap();
    for n in 0..10 {
        kit.until_back(&id, n).await;
    }
    assert!(!kit.alarm(AlarmKind::ManyIdentitiesGone, &id, None));
}

#[tokio::test]
async fn many_gone_together_are_held_on_a_hub_that_no_list_shows_whole() {
    let kit = Kit::with(1400).await;
    let id = kit.create("plant").await;
    // The list shows the first thousand that are left; of the rest some are asked about.
    for n in 0..300 {
        kit.delete(&format!("d{}", 1399 - n));
    }
    // More than are looked at in one go.
    (0..70).for_each(|n| kit.suspect(&id, 1399 - n, Finding::Missing));
    let held = || async {
        let states = kit.states(&id).await;
        states.iter().filter(|(_, state)| *state == BindingState::Missing).count()
    };
    until("all of them are held", || async { held().await == 70 }).await;
    assert!(kit.alarm(AlarmKind::ManyIdentitiesGone, &id, None));
    assert_eq!(kit.hub.inside().devices.len(), 1100);
    assert_eq!(kit.audited("identity.recreate").await, 0);
}

#[tokio::test]
async fn while_the_registry_cannot_be_asked_nothing_is_done() {
    let kit = Kit::with(1).await;
    let id = kit.create("plant").await;
    {
        let mut hub = kit.hub.inside();
        hub.devices.remove("d0");
        (hub.busy, hub.answers) = (true, 0);
    }
    kit.suspect(&id, 0, Finding::Missing);
    until("it was asked in vain", || async { kit.hub.inside().answers > 0 }).await;
    assert_eq!(kit.binding(&id, 0).await.state, BindingState::Delivering);
    kit.hub.inside().busy = false;
    kit.suspect(&id, 0, Finding::Missing);
    kit.until_back(&id, 0).await;
}

#[tokio::test]
async fn on_missing_hold_holds_and_unbind_takes_the_device_out_for_good() {
    let kit = Kit::with(1).await;
    let request = Create { on_missing: OnMissing::Hold, ..kit.request("plant") };
    let id = kit.provisioner.create(request).await.unwrap().id;
    kit.delete("d0");
    kit.suspect(&id, 0, Finding::Missing);
    kit.until_alarm(AlarmKind::IdentityMissing, &id, Some(0)).await;
    assert_eq!(kit.states(&id).await, [("d0".to_owned(), BindingState::Missing)]);

    // Somebody chooses otherwise: all devices, and those that are deleted there leave here.
    let edit = Edit { on_missing: Some(OnMissing::Unbind), all_devices: Some(true), ..Edit::default() };
    kit.provisioner.edit(&id, edit).await.unwrap();
    kit.lanes.waiting.lock().unwrap().insert(kit.devices[0].clone(), 3);
    kit.suspect(&id, 0, Finding::Missing);
    until("it left", || async { kit.states(&id).await.is_empty() }).await;
    until("that is written down", || async { kit.audited("identity.unbind").await == 1 }).await;
    assert!(!kit.alarm(AlarmKind::IdentityMissing, &id, Some(0)));
    // What looks for devices that are to join does not bring it back.
    let integration = kit.registry.integration(&id).await.unwrap();
    kit.provisioner.shared.bind_missing(&integration).await.unwrap();
    assert!(kit.states(&id).await.is_empty() && kit.hub.inside().devices.is_empty());
    // Somebody says so: then it joins.
    let edit = Edit { add_devices: vec![super::kit::bind("d0")], ..Edit::default() };
    kit.provisioner.edit(&id, edit).await.unwrap();
    assert_eq!(kit.hub.inside().ids(), ["d0"]);
}

#[tokio::test]
async fn other_keys_are_read_and_what_somebody_else_made_is_not_ours_any_more() {
    let kit = Kit::with(2).await;
    let id = kit.create("plant").await;
    kit.hub.inside().devices.get_mut("d0").unwrap()["authentication"]["symmetricKey"]["primaryKey"] = json!(KEY);
    kit.delete("d1");
    kit.hub.inside().put("d1", KEY);
    kit.lanes.refreshed.lock().unwrap().clear();
    kit.suspect(&id, 0, Finding::Keys);
    kit.suspect(&id, 1, Finding::Keys);
    for device in 0..2 {
        kit.until_alarm(AlarmKind::IdentityRekeyed, &id, Some(device)).await;
        assert_eq!(kit.primary(&id, device).await, KEY);
    }
    assert_eq!((kit.binding(&id, 0).await.made_by_us, kit.binding(&id, 1).await.made_by_us), (true, false));
    until("lanes take the keys", || async { kit.lanes.refreshed.lock().unwrap().contains(&id) }).await;
    assert_eq!(kit.audited("identity.rekey").await, 2);
}

#[tokio::test]
async fn a_disabled_identity_holds_with_an_alarm_until_its_lane_is_well() {
    let kit = Kit::with(1).await;
    let id = kit.create("plant").await;
    kit.hub.inside().devices.get_mut("d0").unwrap()["status"] = json!("disabled");
    kit.suspect(&id, 0, Finding::Keys);
    kit.until_alarm(AlarmKind::IdentityDisabled, &id, Some(0)).await;
    kit.suspicions.tell(&id, &kit.devices[0], Told::Well);
    until("it is over", || async { !kit.alarm(AlarmKind::IdentityDisabled, &id, Some(0)) }).await;
    assert_eq!(kit.audited("identity").await, 0, "nothing was done to it");
}

#[tokio::test]
async fn what_the_registry_said_is_what_the_lane_is_to_show() {
    let kit = Kit::with(4).await;
    let request = Create { on_missing: OnMissing::Hold, ..kit.request("plant") };
    let id = kit.provisioner.create(request).await.unwrap().id;
    kit.hub.inside().devices.get_mut("d0").unwrap()["status"] = json!("disabled");
    kit.delete("d1");
    kit.hub.inside().devices.get_mut("d3").unwrap()["authentication"] = json!({"type": "selfSigned"});
    // By AMQP a hub says the same of all of them.
    (0..4).for_each(|device| kit.suspect(&id, device, Finding::Keys));
    let found = |device: usize| kit.lanes.found.lock().unwrap().get(&kit.devices[device]).cloned();
    for (device, shows, words) in [
        (0, BindingState::Disabled, "is disabled at"),
        (1, BindingState::Missing, "was deleted at"),
        (3, BindingState::Held, "has no symmetric keys"),
    ] {
        until("the lane was told", || async { found(device).is_some() }).await;
        let (told, why) = found(device).unwrap();
        assert!(told == shows && why.contains(words), "{told}: {why}");
    }
    until("the well one tries again", || async { kit.lanes.woken.lock().unwrap().contains(&kit.devices[2]) }).await;
    assert_eq!(found(2), None);
}

#[tokio::test]
async fn a_stolen_link_is_alarmed_and_left_alone() {
    let kit = Kit::with(1).await;
    let id = kit.create("plant").await;
    kit.suspect(&id, 0, Finding::Stolen);
    kit.until_alarm(AlarmKind::LinkStolen, &id, Some(0)).await;
    assert!(kit.lanes.woken.lock().unwrap().is_empty(), "no tug of war");
}

#[tokio::test]
async fn refused_with_the_right_keys_it_says_whether_the_clock_or_a_filter_is_to_blame() {
    for (date, kind, of_device) in [
        (Some("Sun, 22 Nov 2026 22:19:00 GMT"), AlarmKind::ClockOff, None),
        (None, AlarmKind::IdentityRefused, Some(0)),
    ] {
        let mut kit = Kit::with(1).await;
        let id = kit.create("plant").await;
        // Ours is an hour behind.
        let ours = SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_385_940 - 3_600);
        kit.restart_with(|options| options.client.clock = Clock::from_fn(move || ours)).await;
        kit.hub.inside().date = date;
        for tries in 1..=2 {
            kit.suspect(&id, 0, Finding::Keys);
            until("it is sent back", || async { kit.lanes.woken.lock().unwrap().len() == tries }).await;
        }
        kit.suspect(&id, 0, Finding::Keys);
        kit.until_alarm(kind, &id, of_device).await;
        assert_eq!(kit.lanes.woken.lock().unwrap().len(), 2, "it backs off");
    }
}

#[tokio::test]
async fn a_rolled_policy_key_is_said_and_over_with_the_new_string() {
    let kit = Kit::with(1).await;
    let id = kit.create("plant").await;
    kit.delete("d0");
    kit.hub.inside().locked = true;
    kit.suspect(&id, 0, Finding::Missing);
    kit.until_alarm(AlarmKind::PolicyRefused, &id, None).await;
    until("it needs a person", || async {
        kit.registry.integration(&id).await.unwrap().state == IntegrationState::Attention
    })
    .await;
    kit.hub.inside().locked = false;
    let edit = Edit {
        connection_string: Some(hubward_registry::SecretString::from(kit.hub.connection_string())),
        ..Edit::default()
    };
    kit.provisioner.edit(&id, edit).await.unwrap();
    assert!(!kit.alarm(AlarmKind::PolicyRefused, &id, None));
    assert_eq!(kit.registry.integration(&id).await.unwrap().state, IntegrationState::Active);
    kit.suspect(&id, 0, Finding::Missing);
    kit.until_back(&id, 0).await;
}

#[tokio::test]
async fn what_was_removed_here_is_never_made_again() {
    let kit = Kit::with(2).await;
    let id = kit.create("plant").await;
    kit.provisioner.remove_device(&kit.devices[0], false).await.unwrap();
    kit.delete("d1");
    kit.suspect(&id, 0, Finding::Missing);
    kit.suspect(&id, 1, Finding::Missing);
    kit.until_back(&id, 1).await;
    assert_eq!(kit.hub.inside().ids(), ["d1"]);
}

#[tokio::test]
async fn a_hub_that_stays_away_and_one_that_is_suspended_are_said_and_over_when_it_is_back() {
    let kit = Kit::with(1).await;
    let id = kit.create("plant").await;
    let away = HubStatus { away_since: Some(hubward_model::Timestamp::from_millis(0)), ..HubStatus::default() };
    *kit.lanes.status.lock().unwrap() = away;
    kit.until_alarm(AlarmKind::HubAway, &id, None).await;
    *kit.lanes.status.lock().unwrap() = HubStatus { suspended: true, ..HubStatus::default() };
    kit.until_alarm(AlarmKind::HubGone, &id, None).await;
    assert!(!kit.alarm(AlarmKind::HubAway, &id, None));
    *kit.lanes.status.lock().unwrap() = HubStatus::default();
    until("it is back", || async { !kit.alarm(AlarmKind::HubGone, &id, None) }).await;
}

#[tokio::test]
async fn a_full_hub_is_said_and_over_when_there_is_room() {
    let kit = Kit::with(2).await;
    kit.hub.inside().cap = Some(1);
    let problem = kit.provisioner.create(kit.request("plant")).await.unwrap_err().problem();
    assert_eq!(problem.code, "device_cap");
    let id = kit.registry.integrations().await.unwrap().remove(0).id;
    assert!(kit.alarm(AlarmKind::DeviceCap, &id, None));
    kit.hub.inside().cap = None;
    kit.provisioner.reconcile(&id).await.unwrap();
    assert!(!kit.alarm(AlarmKind::DeviceCap, &id, None));
}
