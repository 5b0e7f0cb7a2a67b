use std::time::Duration;

use super::*;
use crate::testing::{name, registry};
use crate::{NewCredential, NewDevice, WithSecret};

async fn add(registry: &Registry, named: &str, kind: DeviceKind, username: Option<&str>) -> WithSecret<Device> {
    let device = NewDevice { username: username.map(str::to_owned), ..NewDevice::new(name(named), kind) };
    registry.add_device(device).await.unwrap()
}

/// The device that logs in so, if one does.
async fn login(
    registry: &Registry,
    client_id: &str,
    username: Option<&str>,
    password: &SecretString,
) -> Option<DeviceId> {
    let attempt = LoginAttempt { client_id, username, password: Some(password) };
    match registry.verify_login(&attempt).await {
        Ok(Verified::Device(device)) => Some(device.id),
        Ok(Verified::App(token)) => panic!("{token:?}"),
        Err(LoginRefused::BadCredentials) => None,
        Err(error) => panic!("{error}"),
    }
}

#[tokio::test]
async fn an_mqtt_device_logs_in_by_its_id_and_its_own_secret_with_any_client_id() {
    let (registry, _folder) = registry().await;
    let a = add(&registry, "a", DeviceKind::Mqtt, None).await;
    let b = add(&registry, "b", DeviceKind::Mqtt, Some("fleet")).await;
    let (a_id, b_id) = (a.value.id.as_str(), b.value.id.as_str());
    assert_eq!(login(&registry, "anything", Some(a_id), &a.secret).await.as_ref(), Some(&a.value.id));
    assert_eq!(login(&registry, a_id, Some("fleet"), &b.secret).await.as_ref(), Some(&b.value.id));
    assert_eq!(login(&registry, "", Some(b_id), &b.secret).await.as_ref(), Some(&b.value.id));
    for (username, secret) in [
        (Some(a_id), &b.secret),
        (Some(b_id), &a.secret),
        (Some("a"), &a.secret),
        (None, &a.secret),
        (Some("nobody"), &a.secret),
    ] {
        assert_eq!(login(&registry, a_id, username, secret).await, None, "{username:?}");
    }
    let nothing = LoginAttempt { client_id: a_id, username: Some(a_id), password: None };
    assert!(matches!(registry.verify_login(&nothing).await, Err(LoginRefused::BadCredentials)));
}

#[tokio::test]
async fn a_board_logs_in_by_its_token_twice_and_its_owner_where_one_is_set() {
    let (registry, _folder) = registry().await;
    let free = add(&registry, "free", DeviceKind::Pycom, None).await;
    let owned = add(&registry, "owned", DeviceKind::Pycom, Some("jim@example.org")).await;
    let token = free.secret.expose_secret();
    assert_eq!(login(&registry, token, Some("whoever"), &free.secret).await.as_ref(), Some(&free.value.id));
    assert_eq!(login(&registry, token, None, &free.secret).await.as_ref(), Some(&free.value.id));
    assert_eq!(login(&registry, "another client id", None, &free.secret).await, None);
    assert_eq!(login(&registry, owned.secret.expose_secret(), None, &free.secret).await, None);
    let token = owned.secret.expose_secret();
    assert_eq!(login(&registry, token, Some("ann@example.org"), &owned.secret).await, None);
    assert_eq!(login(&registry, token, None, &owned.secret).await, None);
    let by_owner = login(&registry, token, Some("jim@example.org"), &owned.secret).await;
    assert_eq!(by_owner.as_ref(), Some(&owned.value.id));
    // Its public id is no user name, and its token no mqtt device's password.
    assert_eq!(login(&registry, "c", Some(owned.value.id.as_str()), &owned.secret).await, None);
}

#[tokio::test]
async fn a_credential_that_was_rotated_or_removed_ends_at_once() {
    let (registry, _folder) = registry().await;
    let mqtt = add(&registry, "a", DeviceKind::Mqtt, None).await;
    let pycom = add(&registry, "b", DeviceKind::Pycom, None).await;
    let (id, token) = (mqtt.value.id, pycom.secret.expose_secret());
    let new = registry.rotate_device(&id, NewCredential::Random, Duration::ZERO).await.unwrap().secret;
    assert_eq!(login(&registry, "c", Some(id.as_str()), &mqtt.secret).await, None);
    assert_eq!(login(&registry, "c", Some(id.as_str()), &new).await.as_ref(), Some(&id));
    assert_eq!(registry.device_of_token(token).as_ref(), Some(&pycom.value.id));
    registry.remove_device(&pycom.value.id).await.unwrap();
    assert_eq!(registry.device_of_token(token), None);
    assert_eq!(login(&registry, token, None, &pycom.secret).await, None);
    registry.remove_device(&id).await.unwrap();
    assert_eq!(login(&registry, "c", Some(id.as_str()), &new).await, None);
}

#[tokio::test]
async fn an_imported_password_is_right_the_first_time_and_every_time() {
    let (registry, _folder) = registry().await;
    let password = SecretString::from("fleet password");
    let credential = NewCredential::Password(password.clone());
    let device = NewDevice { credential, ..NewDevice::new(name("a"), DeviceKind::Mqtt) };
    let id = registry.add_device(device).await.unwrap().value.id;
    for _ in 0..3 {
        assert_eq!(login(&registry, "c", Some(id.as_str()), &password).await.as_ref(), Some(&id));
        let wrong = SecretString::from("fleet passwork");
        assert_eq!(login(&registry, "c", Some(id.as_str()), &wrong).await, None);
    }
    let next = NewCredential::Password(SecretString::from("next password"));
    registry.rotate_device(&id, next, Duration::ZERO).await.unwrap();
    assert_eq!(login(&registry, "c", Some(id.as_str()), &password).await, None, "what was right before is forgotten");
}

#[tokio::test]
async fn an_app_logs_in_by_its_api_token_under_any_user_name() {
    let (registry, _folder) = registry().await;
    let device = add(&registry, "a", DeviceKind::Mqtt, None).await;
    let made = registry.create_token("dashboard", &["signals:read".to_owned()], None).await.unwrap();
    for username in [None, Some("app"), Some(device.value.id.as_str())] {
        let attempt = LoginAttempt { client_id: "c", username, password: Some(&made.secret) };
        match registry.verify_login(&attempt).await {
            Ok(Verified::App(token)) => assert_eq!(token, made.value),
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn a_login_waits_for_no_database() {
    let (registry, _folder) = registry().await;
    let device = add(&registry, "a", DeviceKind::Mqtt, None).await;
    let _writing = registry.writer().await;
    registry.readers().close().await;
    let id = device.value.id;
    assert_eq!(login(&registry, "c", Some(id.as_str()), &device.secret).await, Some(id));
}

#[tokio::test]
async fn logins_are_the_same_after_a_restart() {
    let (registry, folder) = registry().await;
    let mqtt = add(&registry, "a", DeviceKind::Mqtt, Some("fleet")).await;
    let pycom = add(&registry, "b", DeviceKind::Pycom, None).await;
    let app = registry.create_token("app", &[], None).await.unwrap();
    drop(registry);
    let registry = crate::testing::open(folder.path()).await.unwrap();
    assert_eq!(login(&registry, "c", Some("fleet"), &mqtt.secret).await, Some(mqtt.value.id));
    let token = pycom.secret.expose_secret();
    assert_eq!(login(&registry, token, None, &pycom.secret).await, Some(pycom.value.id));
    assert_eq!(registry.verify_api_token(&app.secret), Some(app.value));
}

#[tokio::test]
async fn a_change_that_was_never_told_is_found_by_the_next_login_whatever_came_between() {
    let (registry, _folder) = registry().await;
    let board = add(&registry, "board", DeviceKind::Mqtt, None).await;
    // Committed, and then whoever was to tell the logins was dropped.
    let sql = "UPDATE devices SET removing = TRUE WHERE id = $1";
    let update = sqlx::query(sql).bind(board.value.id.as_str());
    update.execute(&mut *registry.writer().await.connection).await.unwrap();
    let _never_told = registry.inner.logins.change();
    let other = add(&registry, "other", DeviceKind::Mqtt, None).await;
    assert_eq!(login(&registry, "c", Some(board.value.id.as_str()), &board.secret).await, None);
    let other_id = other.value.id;
    assert_eq!(login(&registry, "c", Some(other_id.as_str()), &other.secret).await, Some(other_id));
}

#[tokio::test]
async fn with_an_overlap_both_credentials_count_until_its_end_and_then_the_old_one_is_forgotten() {
    let (registry, folder) = registry().await;
    let hour = Duration::from_secs(3600);
    let mqtt = add(&registry, "a", DeviceKind::Mqtt, None).await;
    let pycom = add(&registry, "b", DeviceKind::Pycom, None).await;
    let (id, board) = (mqtt.value.id, pycom.value.id);
    let new = registry.rotate_device(&id, NewCredential::Random, hour).await.unwrap();
    assert!(new.value.old_until.is_some());
    let new_token = registry.rotate_device(&board, NewCredential::Random, hour).await.unwrap().secret;
    let registry = {
        drop(registry);
        crate::testing::open(folder.path()).await.unwrap()
    };
    for secret in [&mqtt.secret, &new.secret] {
        assert_eq!(login(&registry, "c", Some(id.as_str()), secret).await.as_ref(), Some(&id));
    }
    for token in [&pycom.secret, &new_token] {
        assert_eq!(login(&registry, token.expose_secret(), None, token).await.as_ref(), Some(&board));
        assert_eq!(registry.device_of_token(token.expose_secret()).as_ref(), Some(&board));
    }
    assert_eq!(registry.end_overlaps().await.unwrap(), []);

    // The old one of an overlap ends with the next rotation, and with its time.
    let newest = registry.rotate_device(&id, NewCredential::Random, Duration::from_nanos(1)).await.unwrap().secret;
    registry.rotate_device(&board, NewCredential::Random, Duration::ZERO).await.unwrap();
    for secret in [&mqtt.secret, &new.secret] {
        assert_eq!(login(&registry, "c", Some(id.as_str()), secret).await, None);
    }
    for token in [&pycom.secret, &new_token] {
        assert_eq!(registry.device_of_token(token.expose_secret()), None);
    }
    assert_eq!(registry.end_overlaps().await.unwrap(), std::slice::from_ref(&id), "it was not seen with the newest");
    assert_eq!(registry.device(&id).await.unwrap().old_until, None);
    assert_eq!(login(&registry, "c", Some(id.as_str()), &newest).await.as_ref(), Some(&id));
}

#[tokio::test]
async fn at_the_end_of_an_overlap_those_who_still_used_the_old_credential_are_named() {
    let (registry, _folder) = registry().await;
    let (old, moved) =
        (add(&registry, "old", DeviceKind::Mqtt, None).await, add(&registry, "moved", DeviceKind::Mqtt, None).await);
    let hour = Duration::from_secs(3600);
    for device in [&old, &moved] {
        let id = &device.value.id;
        let new = registry.rotate_device(id, NewCredential::Random, hour).await.unwrap().secret;
        assert!(login(&registry, "c", Some(id.as_str()), &device.secret).await.is_some());
        assert!(registry.still_on_old(id));
        if id == &moved.value.id {
            assert!(login(&registry, "c", Some(id.as_str()), &new).await.is_some());
            assert!(!registry.still_on_old(id));
        }
    }
    let hours_later = Timestamp::from_millis(Timestamp::now().as_millis() + 2 * 3_600_000);
    let mut ended = registry.inner.logins.ended_overlaps(hours_later);
    ended.sort();
    let mut wanted = [(old.value.id, true), (moved.value.id, false)];
    wanted.sort();
    assert_eq!(ended, wanted);
}
