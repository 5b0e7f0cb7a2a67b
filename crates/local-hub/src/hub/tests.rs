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
