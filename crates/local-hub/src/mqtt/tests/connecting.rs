use std::time::Duration;

use hubward_mqtt::Version;
use hubward_mqtt::client::ConnectOptions;
use hubward_mqtt::protocol::{Qos, Reason, Will};
use serde_json::json;

use crate::access::tests::token;
use crate::testkit::{Kit, Login, MqttDevice, OwnCertificate};

async fn disable(kit: &Kit, id: &str) {
    let body = json!({"deviceId": id, "status": "disabled"});
    let (status, _, body) = kit.rest("PUT", &format!("/devices/{id}"), &[("if-match", "*")], Some(body)).await;
    assert_eq!(status, 200, "{body}");
}

#[tokio::test]
async fn who_may_not_connect_is_told_so_by_the_return_code() {
    let kit = Kit::start().await;
    kit.devices(&["d", "e", "off"]).await;
    let (good, others, off) = (kit.device_token("d"), kit.device_token("e"), kit.device_token("off"));
    disable(&kit, "off").await;
    let key = kit.state().identities.get("d").unwrap().authentication.primary_key.clone().unwrap();
    let in_an_hour = kit.hub.clock().now().as_millis() / 1000 + 3600;
    let expired = token("localhost/devices/d", None, &key, 1_500_000_000);
    let elsewhere = token("elsewhere/devices/d", None, &key, in_an_hour);
    let wrong_key = token("localhost/devices/d", None, &"A".repeat(44), in_an_hour);
    let user = |name: &str| {
        let name = name.to_owned();
        move |options: &mut ConnectOptions| options.username = Some(name)
    };
    let will = |options: &mut ConnectOptions| {
        let topic = "devices/e/messages/events/".to_owned();
        options.will = Some(Will { topic, qos: Qos::AtLeastOnce, ..Will::default() });
    };
    for (what, login, reason) in [
        ("another key", Login::new("d", &wrong_key), Reason::NOT_AUTHORIZED),
        ("expired", Login::new("d", &expired), Reason::NOT_AUTHORIZED),
        ("another hub's token", Login::new("d", &elsewhere), Reason::NOT_AUTHORIZED),
        ("another device's token", Login::new("d", &others), Reason::NOT_AUTHORIZED),
        ("no token", Login::new("d", ""), Reason::NOT_AUTHORIZED),
        ("nonsense", Login::new("d", "x"), Reason::NOT_AUTHORIZED),
        ("a policy without DeviceConnect", Login::new("d", &kit.token("service")), Reason::NOT_AUTHORIZED),
        ("unknown device", Login::new("nobody", &kit.token("device")), Reason::NOT_AUTHORIZED),
        ("disabled device", Login::new("off", &off), Reason::NOT_AUTHORIZED),
        ("disabled device, policy", Login::new("off", &kit.token("device")), Reason::NOT_AUTHORIZED),
        ("a module", Login::new("d/m", &good), Reason::NOT_AUTHORIZED),
        ("no user name", Login::new("d", "").with(|options| options.username = None), Reason::NOT_AUTHORIZED),
        ("no form", Login::new("d", &good).with(user("d")), Reason::NOT_AUTHORIZED),
        ("another host", Login::new("d", &good).with(user("elsewhere/d/?api-version=1")), Reason::NOT_AUTHORIZED),
        ("another id", Login::new("d", &good).with(user("localhost/e/?api-version=1")), Reason::NOT_AUTHORIZED),
        ("another's will", Login::new("d", &good).with(will), Reason::NOT_AUTHORIZED),
        ("no client id", Login::new("", &good), Reason::CLIENT_ID_NOT_VALID),
        (
            "MQTT 5",
            Login::new("d", &good).with(|options| options.version = Version::V5),
            Reason::UNSUPPORTED_PROTOCOL_VERSION,
        ),
    ] {
        assert_eq!(login.refused(&kit).await, reason, "{what}");
    }
    assert_eq!(kit.state().presence.count(), 0);
    kit.hub.stop().await;
}

#[tokio::test]
async fn a_devices_own_keys_and_a_policy_with_device_connect_let_it_in() {
    let kit = Kit::start().await;
    kit.devices(&["d"]).await;
    let identity = kit.state().identities.get("d").unwrap();
    let second = identity.authentication.secondary_key.clone().unwrap();
    let in_an_hour = kit.hub.clock().now().as_millis() / 1000 + 3600;
    let by_second = token("localhost/devices/d", None, &second, in_an_hour);
    let scoped = token("localhost/devices", Some("device"), &kit.state().access.policy_key("device"), in_an_hour);
    for token in [kit.device_token("d"), by_second, kit.token("device"), kit.token("iothubowner"), scoped] {
        let (device, _) = Login::new("d", &token).open(&kit).await.unwrap();
        device.client.disconnect().await.unwrap();
    }
    let short = Login::new("d", &kit.device_token("d")).with(|options| options.username = Some("localhost/d".into()));
    let (device, _) = short.open(&kit).await.unwrap();
    device.client.disconnect().await.unwrap();
    kit.hub.stop().await;
}

#[tokio::test]
async fn a_second_connection_takes_over_and_the_first_is_closed() {
    let kit = Kit::start().await;
    kit.devices(&["d"]).await;
    let first = MqttDevice::open(&kit, "d").await;
    let mut second = MqttDevice::open(&kit, "d").await;
    first.closed().await;
    second.event("", "x").await.unwrap();
    assert!(kit.state().presence.is_connected("d"));
    second.client.disconnect().await.unwrap();
    while kit.state().presence.is_connected("d") {
        tokio::task::yield_now().await;
    }
    kit.hub.stop().await;
}

#[tokio::test]
async fn a_connection_ends_with_what_it_stands_on() {
    let kit = Kit::start().await;
    kit.devices(&["off", "gone", "keys", "dropped", "fine"]).await;
    let off = MqttDevice::open(&kit, "off").await;
    let gone = MqttDevice::open(&kit, "gone").await;
    let keys = MqttDevice::open(&kit, "keys").await;
    let dropped = MqttDevice::open(&kit, "dropped").await;
    let mut fine = MqttDevice::open(&kit, "fine").await;
    disable(&kit, "off").await;
    off.closed().await;
    let (status, ..) = kit.rest("DELETE", "/devices/gone", &[("if-match", "*")], None).await;
    assert_eq!(status, 204);
    gone.closed().await;
    let key = crate::policies::new_key();
    let body =
        json!({"deviceId": "keys", "authentication": {"symmetricKey": {"primaryKey": key, "secondaryKey": key}}});
    let (status, ..) = kit.rest("PUT", "/devices/keys", &[("if-match", "*")], Some(body)).await;
    assert_eq!(status, 200);
    keys.closed().await;
    assert!(kit.state().presence.disconnect("dropped", "a test wants it").is_some());
    dropped.closed().await;
    // A change that takes nothing away ends nothing.
    let body = json!({"deviceId": "fine", "statusReason": "so"});
    let (status, ..) = kit.rest("PUT", "/devices/fine", &[("if-match", "*")], Some(body)).await;
    assert_eq!(status, 200);
    fine.event("", "x").await.unwrap();
    kit.hub.stop().await;
}

#[tokio::test]
async fn a_connection_ends_when_its_token_expires() {
    let kit = Kit::start().await;
    kit.devices(&["d"]).await;
    let mut device = MqttDevice::open(&kit, "d").await;
    kit.hub.clock().advance(Duration::from_secs(3500));
    device.event("", "still good").await.unwrap();
    kit.hub.clock().advance(Duration::from_secs(200));
    device.closed().await;
    kit.hub.stop().await;
}

#[tokio::test]
async fn a_client_silent_for_longer_than_its_keepalive_allows_is_closed() {
    let kit = Kit::start().await;
    kit.devices(&["d"]).await;
    let login = Login::new("d", &kit.device_token("d")).with(|options| options.keep_alive = 1);
    let (device, _) = login.open(&kit).await.unwrap();
    device.closed().await;
    kit.hub.stop().await;
}

#[tokio::test]
async fn a_certificate_lets_in_the_device_that_is_known_by_its_thumbprint() {
    let kit = Kit::start().await;
    let (own, strange) = (OwnCertificate::new(), OwnCertificate::new());
    let thumbprints = crate::client_certificates::Thumbprints::of(&own.certificate);
    for (id, primary, secondary) in
        [("x", thumbprints.sha1.to_lowercase(), "0".repeat(40)), ("y", "0".repeat(64), thumbprints.sha256.clone())]
    {
        let authentication = json!({
            "type": "selfSigned",
            "x509Thumbprint": {"primaryThumbprint": primary, "secondaryThumbprint": secondary},
        });
        let body = json!({"deviceId": id, "authentication": authentication});
        let (status, _, body) = kit.rest("PUT", &format!("/devices/{id}"), &[], Some(body)).await;
        assert_eq!(status, 200, "{body}");
        for websocket in [false, true] {
            let mut login = Login::new(id, "").with_certificate(&own);
            login.websocket = websocket;
            let (mut device, _) = login.open(&kit).await.unwrap();
            device.event("", "x").await.unwrap();
            device.client.disconnect().await.unwrap();
        }
        assert_eq!(Login::new(id, "").with_certificate(&strange).refused(&kit).await, Reason::NOT_AUTHORIZED);
        assert_eq!(Login::new(id, "").refused(&kit).await, Reason::NOT_AUTHORIZED);
    }
    kit.devices(&["sas"]).await;
    assert_eq!(Login::new("sas", "").with_certificate(&own).refused(&kit).await, Reason::NOT_AUTHORIZED);
    let (device, _) = Login::new("x", "").with_certificate(&own).open(&kit).await.unwrap();
    let authentication = json!({"type": "selfSigned", "x509Thumbprint": {"primaryThumbprint": "1".repeat(40)}});
    let body = json!({"deviceId": "x", "authentication": authentication});
    let (status, ..) = kit.rest("PUT", "/devices/x", &[("if-match", "*")], Some(body)).await;
    assert_eq!(status, 200);
    device.closed().await;
    kit.hub.stop().await;
}

#[tokio::test]
async fn the_model_a_device_names_stands_in_its_twin() {
    let kit = Kit::start().await;
    kit.devices(&["d"]).await;
    let name = "localhost/d/?api-version=2020-09-30&model-id=dtmi%3Aa%3Bb";
    let login = Login::new("d", &kit.device_token("d")).with(|options| options.username = Some(name.to_owned()));
    let (_device, _) = login.open(&kit).await.unwrap();
    let identity = kit.state().identities.get("d").unwrap();
    assert_eq!(kit.state().devices.twin(&identity).model_id, "dtmi:a;b");
    kit.hub.stop().await;
}
