use std::net::Ipv4Addr;

use super::*;

#[tokio::test]
async fn a_data_folder_serves_one_hub_at_a_time() {
    let dir = tempfile::tempdir().unwrap();
    let hub = LocalHub::start(Options::new(dir.path())).await.unwrap();
    let second = LocalHub::start(Options::new(dir.path())).await.unwrap_err();
    assert!(matches!(second, StartError::InUse { .. }), "{second}");
    hub.stop().await;
    LocalHub::start(Options::new(dir.path())).await.unwrap().stop().await;
}

#[tokio::test]
async fn a_taken_port_is_named_with_its_listener() {
    let dir = tempfile::tempdir().unwrap();
    let taken = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let mut options = Options::new(dir.path());
    options.amqps = taken.local_addr().unwrap();
    let error = LocalHub::start(options).await.unwrap_err();
    assert!(matches!(error, StartError::Listen { listener: "amqps", .. }), "{error}");
    // Nothing is left behind: the folder is free at once.
    LocalHub::start(Options::new(dir.path())).await.unwrap().stop().await;
}

#[tokio::test]
async fn names_no_hub_can_have_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let mut options = Options::new(dir.path());
    options.name = "no hub".to_owned();
    assert!(matches!(LocalHub::start(options).await, Err(StartError::Name { .. })));
    let mut options = Options::new(dir.path());
    options.host_name = "no host".to_owned();
    assert!(matches!(LocalHub::start(options).await, Err(StartError::HostName { .. })));
}

#[tokio::test]
async fn the_info_has_the_fields_that_scripts_read_and_no_key_in_debug_text() {
    let dir = tempfile::tempdir().unwrap();
    let hub = LocalHub::start(Options::new(dir.path())).await.unwrap();
    let info = hub.info();
    let json = serde_json::to_value(info).unwrap();
    for name in ["name", "host_name", "https", "amqps", "amqp", "ca_file", "connection_strings"] {
        assert!(!json[name].is_null(), "{name}");
    }
    let policies = ["iothubowner", "service", "device", "registryRead", "registryReadWrite"];
    for name in policies.into_iter().chain(["eventhubs", "eventhubs_tls"]) {
        assert!(json["connection_strings"][name].is_string(), "{name}");
    }
    let port = info.https.rsplit_once(':').unwrap().1;
    let owner = &info.connection_strings.iothubowner;
    assert!(owner.starts_with(&format!("HostName=localhost:{port};SharedAccessKeyName=iothubowner;")), "{owner}");
    assert!(!format!("{hub:?} {:?}", info.connection_strings).contains("SharedAccessKey"));
    hub.stop().await;
}

#[cfg(unix)]
#[tokio::test]
async fn every_file_with_a_secret_is_for_its_owner_only() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    let hub = LocalHub::start(Options::new(dir.path())).await.unwrap();
    hub.stop().await;
    for name in ["policies.json", "ca-key.pem", "registry.log"] {
        let mode = std::fs::metadata(dir.path().join(name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
}

/// Copies a folder as it is now: what a kill would leave of a hub that runs in it.
fn copy(from: &std::path::Path, to: &std::path::Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &to);
        } else {
            std::fs::copy(entry.path(), to).unwrap();
        }
    }
}

#[tokio::test]
async fn a_hub_that_was_killed_knows_what_devices_used_of_the_day() {
    use crate::testkit::{Kit, MqttDevice, Peer};
    use hubward_amqp::message::Message;
    let kit = Kit::with(|options| options.limits.tier = Some(crate::Tier::F1)).await;
    // Away from midnight, so that a day does not end in the middle.
    let day = 24 * 60 * 60 * 1000;
    let to_noon = (day + day / 2 - kit.hub.clock().now().as_millis().rem_euclid(day)).rem_euclid(day);
    kit.hub.clock().advance(std::time::Duration::from_millis(to_noon.unsigned_abs()));
    let tokens = kit.devices(&["by-https", "by-amqp", "by-mqtt"]).await;
    let batch = r#"[{"body": "AA=="}, {"body": "AA=="}, {"body": "AA=="}]"#;
    let headers = [("content-type", "application/vnd.microsoft.iothub.json")];
    let path = "/devices/by-https/messages/events";
    assert_eq!(kit.send(&tokens[0], "POST", path, &headers, batch.into()).await.0.as_u16(), 204);
    let mut peer = Peer::open(&kit).await;
    assert_eq!(peer.put_token(&tokens[1]).await, 200);
    let link = peer.telemetry("by-amqp").await.unwrap();
    peer.send_batch(link, &[Message::data("x"), Message::data(vec![7; 1000])]);
    peer.outcome(link).await;
    MqttDevice::open(&kit, "by-mqtt").await.event("", &"x".repeat(600)).await.unwrap();
    let before = kit.state().limits.usage();
    assert_eq!((before.messages_per_message, before.messages_per_transfer), (3 + (1 + 2) + 2, 1 + 2 + 2));

    let dir = tempfile::tempdir().unwrap();
    copy(&kit.data(), dir.path());
    let mut options = Options::new(dir.path());
    options.limits.tier = Some(crate::Tier::F1);
    options.clock = kit.hub.clock().clone();
    let after = LocalHub::start(options).await.unwrap();
    let usage = after.state().limits.usage();
    assert_eq!(usage.messages_per_message, before.messages_per_message);
    assert_eq!(usage.messages_per_transfer, before.messages_per_transfer);
    after.stop().await;
    kit.hub.stop().await;
}
