use hubward_model::{BindingState, DeviceKind, IntegrationState, OnExisting, Transport};
use hubward_registry::{ExposeSecret as _, NewDevice, SecretString};

use super::fake_hub::KEY;
use super::kit::{Kit, bind, until};
use crate::provision::Create;

#[tokio::test]
async fn create_makes_an_identity_for_each_device_with_keys_of_its_own() {
    let kit = Kit::with(3).await;
    let integration = kit.provisioner.create(kit.request("plant")).await.unwrap();
    assert_eq!(integration.state, IntegrationState::Active);
    assert_eq!(integration.host_name, format!("localhost:{}", kit.hub.port));
    assert_eq!(kit.hub.inside().ids(), ["d0", "d1", "d2"]);
    assert_eq!(kit.hub.inside().bulk_calls, 1);
    for n in 0..3 {
        let binding = kit.binding(&integration.id, n).await;
        assert_eq!((binding.state, binding.made_by_us), (BindingState::Delivering, true));
        assert_eq!(binding.start.to_raw(), 7);
        let keys = kit.registry.keys(&integration.id, &kit.devices[n]).await.unwrap();
        let there = kit.hub.inside().devices[&format!("d{n}")].clone();
        assert_eq!(there["authentication"]["symmetricKey"]["primaryKey"], keys.primary.expose_secret());
        assert_eq!(there["generationId"], binding.generation_id.unwrap());
    }
    assert!(kit.lanes.refreshed.lock().unwrap().contains(&integration.id));
}

#[tokio::test]
async fn many_identities_are_made_by_calls_of_a_hundred() {
    let kit = Kit::with(250).await;
    let id = kit.create("plant").await;
    assert_eq!(kit.hub.inside().devices.len(), 250);
    assert_eq!(kit.hub.inside().bulk_calls, 3);
    let bindings = kit.registry.bindings(&id).await.unwrap();
    assert!(bindings.iter().all(|binding| binding.generation_id.is_some()));
}

#[tokio::test]
async fn a_refused_request_stores_nothing_and_asks_the_hub_nothing_to_keep() {
    let kit = Kit::with(1).await;
    kit.provisioner.create(Create { devices: vec![bind("d0")], ..kit.request("taken") }).await.unwrap();
    let request = |change: &dyn Fn(&mut Create)| {
        let mut request = kit.request("new");
        request.device_id_template = None;
        change(&mut request);
        request
    };
    let with_string =
        |text: String| move |create: &mut Create| create.access.connection_string = SecretString::from(text.clone());
    let good = kit.hub.connection_string();
    let cases: Vec<(&str, &str, Create)> = vec![
        ("name_taken", "name", request(&|r| r.name = "taken".into())),
        ("name_character", "name", request(&|r| r.name = "a/b".into())),
        ("name_empty", "name", request(&|r| r.name = " ".into())),
        ("topic_character", "topic", request(&|r| r.topic = "a/+".into())),
        ("name_empty", "topic", request(&|r| r.topic.clear())),
        ("unknown_device", "device", request(&|r| r.devices.push(bind("nobody")))),
        ("device_twice", "device", request(&|r| r.devices.push(bind("d0")))),
        ("no_devices", "devices", request(&|r| r.devices.clear())),
        ("bad_template", "device_id_template", request(&|r| r.device_id_template = Some("x".into()))),
        ("bad_hub_device_id", "hub_device_id", request(&|r| r.devices[0].hub_device_id = Some("a b".into()))),
        ("hub_device_id_taken", "device", request(&|r| r.devices[0].hub_device_id = Some("d0".into()))),
        ("transport_not_available", "transport", request(&|r| r.transport = Transport::Https)),
        ("bad_ca", "hub_ca", request(&|r| r.access.hub_ca = Some("hello".into()))),
        ("bad_endpoint", "hub_endpoint", request(&|r| r.access.hub_endpoint = Some("ftp=x:1".into()))),
        ("tls_not_trusted", "HostName", request(&|r| r.access.hub_ca = None)),
        ("bad_connection_string", "connection_string", request(&with_string("hello".into()))),
        ("host_not_allowed", "HostName", request(&with_string(good.replace("localhost", "127.0.0.1")))),
        ("bad_key", "SharedAccessKey", request(&with_string(format!("{good}!")))),
    ];
    for (code, field, create) in cases {
        let problem = kit.provisioner.create(create).await.unwrap_err().problem();
        assert_eq!((problem.code.as_str(), problem.field.as_deref()), (code, Some(field)), "{}", problem.message);
        assert!(!problem.remedy.is_empty() && !problem.message.contains(KEY), "{problem:?}");
    }
    kit.hub.inside().locked = true;
    let problem = kit.provisioner.create(request(&|_| {})).await.unwrap_err().problem();
    assert_eq!(problem.code, "wrong_key");
    assert_eq!(kit.registry.integrations().await.unwrap().len(), 1);
    assert_eq!(kit.hub.inside().ids(), ["d0"]);
}

#[tokio::test]
async fn an_identity_of_somebody_else_refuses_the_whole_and_what_was_made_is_taken_back() {
    let kit = Kit::with(3).await;
    kit.hub.inside().put("d1", KEY);
    let problem = kit.provisioner.create(kit.request("plant")).await.unwrap_err().problem();
    assert_eq!(problem.code, "conflict");
    assert!(problem.message.ends_with("not made by Hubward: d1"), "{}", problem.message);
    assert!(kit.registry.integrations().await.unwrap().is_empty());
    assert_eq!(kit.hub.inside().ids(), ["d1"]);
    assert!(kit.registry.pending_deletions().await.unwrap().is_empty());
}

#[tokio::test]
async fn adopt_sends_as_the_identity_that_is_there_with_its_keys() {
    let kit = Kit::with(2).await;
    kit.hub.inside().put("d1", KEY);
    let request = Create { on_existing: OnExisting::Adopt, ..kit.request("plant") };
    let integration = kit.provisioner.create(request).await.unwrap();
    assert_eq!(integration.state, IntegrationState::Active);
    let binding = kit.binding(&integration.id, 1).await;
    assert_eq!((binding.state, binding.made_by_us), (BindingState::Delivering, false));
    let keys = kit.registry.keys(&integration.id, &kit.devices[1]).await.unwrap();
    assert_eq!(keys.primary.expose_secret(), KEY);
}

#[tokio::test]
async fn an_identity_without_keys_cannot_be_adopted() {
    let kit = Kit::with(1).await;
    kit.hub.inside().put("d0", KEY);
    kit.hub.inside().devices.get_mut("d0").unwrap()["authentication"] = serde_json::json!({"type": "selfSigned"});
    let request = Create { on_existing: OnExisting::Adopt, ..kit.request("plant") };
    assert_eq!(kit.provisioner.create(request).await.unwrap_err().problem().code, "conflict");
    assert!(kit.registry.integrations().await.unwrap().is_empty());
}

#[tokio::test]
async fn rename_makes_another_id_and_leaves_the_one_that_is_there() {
    let kit = Kit::with(1).await;
    kit.hub.inside().put("d0", KEY);
    kit.hub.inside().put("d0-h2", KEY);
    let request = Create { on_existing: OnExisting::Rename, ..kit.request("plant") };
    let integration = kit.provisioner.create(request).await.unwrap();
    assert_eq!(kit.states(&integration.id).await, [("d0-h3".to_owned(), BindingState::Delivering)]);
    assert_eq!(kit.hub.inside().ids(), ["d0", "d0-h2", "d0-h3"]);
}

#[tokio::test]
async fn a_full_hub_keeps_what_was_made_and_names_what_was_not() {
    let kit = Kit::with(5).await;
    kit.hub.inside().cap = Some(3);
    let problem = kit.provisioner.create(kit.request("plant")).await.unwrap_err().problem();
    assert_eq!(problem.code, "device_cap");
    assert!(problem.message.contains("3 of 5") && problem.message.ends_with("not: d3, d4"), "{}", problem.message);
    let integration = kit.registry.find_integration("plant").await.unwrap();
    assert_eq!(integration.state, IntegrationState::Attention);
    assert_eq!(integration.last_error.as_deref(), Some(problem.message.as_str()));
    assert_eq!(kit.binding(&integration.id, 0).await.state, BindingState::Delivering);
    assert_eq!(kit.binding(&integration.id, 4).await.state, BindingState::Creating);

    kit.hub.inside().cap = None;
    let integration = kit.provisioner.reconcile(&integration.id).await.unwrap();
    assert_eq!((integration.state, integration.last_error), (IntegrationState::Active, None));
    assert_eq!(kit.hub.inside().devices.len(), 5);
}

#[tokio::test]
async fn a_throttled_and_a_broken_call_are_tried_again_and_what_the_hub_made_is_known_as_ours() {
    let kit = Kit::with(2).await;
    {
        let mut hub = kit.hub.inside();
        (hub.throttle, hub.swallow) = (2, 1);
    }
    let id = kit.create("plant").await;
    assert_eq!(kit.hub.inside().ids(), ["d0", "d1"]);
    assert!(kit.binding(&id, 0).await.made_by_us && kit.binding(&id, 1).await.made_by_us);
    assert_eq!(kit.registry.integration(&id).await.unwrap().last_error, None);
}

#[tokio::test]
async fn what_a_kill_left_half_made_is_made_by_the_next_start() {
    let mut kit = Kit::with(150).await;
    kit.hub.inside().cap = None;
    let (request, provisioner) = (kit.request("plant"), kit.provisioner.clone());
    // The first hundred are made and the answer is lost; then the hub throttles until the kill.
    kit.hub.inside().swallow = 1;
    let asked = tokio::spawn(async move { provisioner.create(request).await });
    until("a call was carried out", || async {
        let mut hub = kit.hub.inside();
        if hub.bulk_calls > 0 {
            hub.throttle = usize::MAX;
        }
        hub.bulk_calls > 0
    })
    .await;
    kit.restart().await;
    assert!(asked.await.unwrap().is_err());
    assert!(kit.hub.inside().devices.len() < 150);

    kit.hub.inside().throttle = 0;
    until("the integration is active", || async {
        kit.registry.find_integration("plant").await.unwrap().state == IntegrationState::Active
    })
    .await;
    assert_eq!(kit.hub.inside().devices.len(), 150);
    let id = kit.registry.find_integration("plant").await.unwrap().id;
    let bindings = kit.registry.bindings(&id).await.unwrap();
    assert!(bindings.iter().all(|binding| binding.made_by_us && binding.state == BindingState::Delivering));
}

#[tokio::test]
async fn who_does_not_wait_finds_the_integration_in_the_making_and_later_its_conflict() {
    let mut kit = Kit::with(2).await;
    kit.restart_with(|options| options.answer_within = std::time::Duration::from_millis(50)).await;
    kit.hub.inside().put("d1", KEY);
    kit.hub.inside().throttle = usize::MAX;
    let integration = kit.provisioner.create(kit.request("plant")).await.unwrap();
    assert_eq!(integration.state, IntegrationState::Creating);

    kit.hub.inside().throttle = 0;
    until("it needs attention", || async {
        kit.registry.integration(&integration.id).await.unwrap().state == IntegrationState::Attention
    })
    .await;
    let states = kit.states(&integration.id).await;
    assert_eq!(states, [("d0".to_owned(), BindingState::Delivering), ("d1".to_owned(), BindingState::Conflict)]);
    let error = kit.registry.integration(&integration.id).await.unwrap().last_error.unwrap();
    assert!(error.ends_with("d1"), "{error}");
}

#[tokio::test]
async fn a_policy_that_is_refused_half_way_waits_for_a_new_string_while_the_rest_goes_on() {
    let kit = Kit::with(1).await;
    let id = kit.create("plant").await;
    kit.hub.inside().locked = true;
    let all = Create { all_devices: true, ..kit.request("all") };
    assert_eq!(kit.provisioner.create(all).await.unwrap_err().problem().code, "wrong_key");
    assert_eq!(kit.registry.integration(&id).await.unwrap().state, IntegrationState::Active);
}

#[tokio::test]
async fn a_new_device_joins_the_integrations_that_take_all() {
    let kit = Kit::with(1).await;
    let request = Create { all_devices: true, devices: Vec::new(), ..kit.request("all") };
    let id = kit.provisioner.create(request).await.unwrap().id;
    assert_eq!(kit.hub.inside().ids(), ["d0"]);
    let new = NewDevice::new("fresh".parse().unwrap(), DeviceKind::Mqtt);
    let device = kit.registry.add_device(new).await.unwrap().value.id;
    kit.provisioner.device_added(&device).await.unwrap();
    // Bound at once, so that no signal is missed; made a moment later.
    kit.registry.binding(&id, &device).await.unwrap();
    until("its identity is made", || async {
        kit.registry.binding(&id, &device).await.unwrap().state == BindingState::Delivering
    })
    .await;
    assert_eq!(kit.hub.inside().ids(), ["d0", "fresh"]);
}

#[tokio::test]
async fn a_device_token_is_never_an_id_in_the_hub() {
    let kit = Kit::with(0).await;
    let new = NewDevice::new("board".parse().unwrap(), DeviceKind::Pycom);
    let token = kit.registry.add_device(new).await.unwrap().secret;
    let mut request = kit.request("plant");
    request.devices = vec![bind("board")];
    request.devices[0].hub_device_id = Some(token.expose_secret().to_owned());
    let problem = kit.provisioner.create(request).await.unwrap_err().problem();
    assert_eq!(problem.code, "bad_hub_device_id");
    assert!(!format!("{problem:?}").contains(token.expose_secret()));
}
