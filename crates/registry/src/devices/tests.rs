use super::*;
use crate::testing::{device, integration, name, new_integration, registry};
use crate::{HubSide, LoginAttempt};

fn new(named: &str, kind: DeviceKind) -> NewDevice {
    NewDevice::new(name(named), kind)
}

#[tokio::test]
async fn a_device_gets_a_secret_of_256_bits_and_a_board_a_token_its_firmware_takes() {
    let (registry, _folder) = registry().await;
    let mqtt = registry.add_device(new("a", DeviceKind::Mqtt)).await.unwrap();
    assert_eq!(mqtt.secret.expose_secret().len(), 43);
    assert_eq!(mqtt.value.login_name(), Some(mqtt.value.id.as_str()));
    let pycom = registry.add_device(new("b", DeviceKind::Pycom)).await.unwrap();
    assert!(is_token(pycom.secret.expose_secret()));
    assert_eq!(pycom.value.login_name(), None);
    assert_eq!(registry.devices().await.unwrap(), [mqtt.value, pycom.value]);
}

#[tokio::test]
async fn a_name_is_unique_and_a_refused_batch_leaves_nothing() {
    let (registry, _folder) = registry().await;
    let batch = vec![new("a", DeviceKind::Mqtt), new("b", DeviceKind::Mqtt), new("a", DeviceKind::Pycom)];
    let error = registry.add_devices(batch).await.unwrap_err();
    assert!(matches!(&error, Error::NameTaken { name, .. } if name == "a"), "{error}");
    assert_eq!(error.problem().code, "name_taken");
    assert!(registry.devices().await.unwrap().is_empty());
    let a = device(&registry, "a").await;
    let b = device(&registry, "b").await;
    assert!(matches!(registry.rename_device(&b, name("a")).await, Err(Error::NameTaken { .. })));
    registry.rename_device(&a, name("a")).await.unwrap();
    registry.rename_device(&b, name("c")).await.unwrap();
    assert_eq!(registry.find_device("c").await.unwrap().id, b);
    assert_eq!(registry.device_name(&b), Some(name("c")));
}

#[tokio::test]
async fn a_device_is_found_by_name_or_id_and_an_unknown_one_named() {
    let (registry, _folder) = registry().await;
    let board = device(&registry, "board").await;
    assert_eq!(registry.find_device("board").await.unwrap().id, board);
    assert_eq!(registry.find_device(board.as_str()).await.unwrap().id, board);
    // A name wins over another device's id.
    let other = registry.add_device(new(board.as_str(), DeviceKind::Mqtt)).await.unwrap().value.id;
    assert_eq!(registry.find_device(board.as_str()).await.unwrap().id, other);
    let error = registry.find_device("nobody").await.unwrap_err();
    assert_eq!(error.to_string(), "there is no device \"nobody\"");
}

#[tokio::test]
async fn imported_credentials_must_fit_the_kind_and_belong_to_one_device() {
    let (registry, _folder) = registry().await;
    let token = || NewCredential::Token(SecretString::from("9f262000-1111-4222-8333-444455556666"));
    let add = |named: &str, kind, credential| {
        let registry = registry.clone();
        let device = NewDevice { credential, ..new(named, kind) };
        async move { registry.add_device(device).await }
    };
    let added = add("wipy", DeviceKind::Pycom, token()).await.unwrap();
    assert_eq!(registry.device_of_token("9f262000-1111-4222-8333-444455556666"), Some(added.value.id));
    assert!(matches!(add("two", DeviceKind::Pycom, token()).await, Err(Error::CredentialTaken { .. })));
    assert!(matches!(add("two", DeviceKind::Mqtt, token()).await, Err(Error::BadCredential { field: "token", .. })));
    let password = || NewCredential::Password(SecretString::from("p"));
    assert!(matches!(add("two", DeviceKind::Pycom, password()).await, Err(Error::BadCredential { .. })));
    let empty = NewCredential::Password(SecretString::default());
    assert!(matches!(add("two", DeviceKind::Mqtt, empty).await, Err(Error::BadCredential { .. })));
    for bad in ["", "9f262000", "9f262000-1111-4222-8333-44445555666g", "9f262000x1111-4222-8333-444455556666"] {
        let bad = NewCredential::Token(SecretString::from(bad));
        assert!(matches!(add("two", DeviceKind::Pycom, bad).await, Err(Error::BadCredential { .. })));
    }
    assert!(registry.device_of_token("9f262000-1111-4222-8333-444455556667").is_none());
}

#[tokio::test]
async fn user_names_of_mqtt_devices_are_unique_those_of_boards_name_their_owner() {
    let (registry, _folder) = registry().await;
    let named =
        |device: &str, kind, username: &str| NewDevice { username: Some(username.to_owned()), ..new(device, kind) };
    registry.add_device(named("a", DeviceKind::Pycom, "jim@example.org")).await.unwrap();
    registry.add_device(named("b", DeviceKind::Pycom, "jim@example.org")).await.unwrap();
    let mqtt = registry.add_device(named("c", DeviceKind::Mqtt, "sensor")).await.unwrap().value;
    assert_eq!(mqtt.login_name(), Some("sensor"));
    let taken = registry.add_device(named("d", DeviceKind::Mqtt, "sensor")).await;
    assert!(matches!(taken, Err(Error::CredentialTaken { what: "user name" })));
    for bad in ["", "ümlaut", &"x".repeat(100)] {
        assert!(registry.add_device(named("d", DeviceKind::Pycom, bad)).await.is_err(), "{bad:?}");
    }
    let d = device(&registry, "d").await;
    assert!(registry.set_device_username(&d, Some("sensor".to_owned())).await.is_err());
    let d = registry.set_device_username(&d, Some("sensor2".to_owned())).await.unwrap();
    assert_eq!(registry.device(&d.id).await.unwrap().username.as_deref(), Some("sensor2"));
}

#[tokio::test]
async fn topics_and_what_a_device_did_are_kept() {
    let (registry, _folder) = registry().await;
    let board = device(&registry, "board").await;
    let topics = vec!["plant/+/t".to_owned(), "x/#".to_owned()];
    assert_eq!(registry.set_device_topics(&board, topics.clone()).await.unwrap().topics, topics);
    let seen = Timestamp::from_millis(5);
    let gone = DeviceId::random();
    let activity = [&board, &gone].map(|device| Activity { device: device.clone(), last_seen: seen, signals: 9 });
    registry.save_activity(&activity).await.unwrap();
    let device = registry.device(&board).await.unwrap();
    assert_eq!((device.last_seen, device.signals, device.topics), (Some(seen), 9, topics));
}

#[tokio::test]
async fn a_device_in_an_integration_is_not_forgotten_but_told_of() {
    let (registry, _folder) = registry().await;
    let board = device(&registry, "board").await;
    let azure = integration(&registry, "azure", &[(&board, "board-1")]).await;
    match registry.remove_device(&board).await.unwrap_err() {
        Error::DeviceBound { device, integrations } => {
            assert_eq!((device.as_str(), integrations.as_slice()), ("board", ["azure".to_owned()].as_slice()))
        }
        error => panic!("{error}"),
    }
    registry.remove_bindings(&azure.id, std::slice::from_ref(&board), HubSide::Settled).await.unwrap();
    registry.remove_device(&board).await.unwrap();
    assert!(matches!(registry.remove_device(&board).await, Err(Error::NotFound { .. })));
    assert!(registry.device_name(&board).is_none());
}

#[tokio::test]
async fn a_device_being_removed_neither_connects_nor_joins_an_integration() {
    let (registry, _folder) = registry().await;
    let added = registry.add_device(new("board", DeviceKind::Mqtt)).await.unwrap();
    let id = added.value.id;
    let attempt = LoginAttempt { client_id: "c", username: Some(id.as_str()), password: Some(&added.secret) };
    assert!(registry.verify_login(&attempt).await.is_ok());
    registry.mark_device_removing(&id).await.unwrap();
    assert!(registry.verify_login(&attempt).await.is_err());
    assert!(registry.device(&id).await.unwrap().removing);
    let binding = crate::testing::new_binding(&id, "board-1");
    let refused = registry.add_integration(new_integration("azure"), vec![binding]).await;
    assert!(matches!(refused, Err(Error::NotFound { what: "device", .. })));
    assert!(registry.integrations().await.unwrap().is_empty());
}
