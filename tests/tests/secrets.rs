//! No secret stands in clear in the data folder or in the log, and a copy of the folder alone opens nothing.

#![allow(clippy::unwrap_used, reason = "a test may fail at any step")]

use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use hubward_tests::process::binary;
use hubward_tests::{Device, Portal, ServerOptions, World};

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { folders.push(path) } else { found.push(path) }
        }
    }
    found
}

fn holds(haystack: &[u8], needle: &[u8]) -> bool {
    haystack.windows(needle.len()).any(|window| window == needle)
}

/// A secret and the forms in which it might be written.
fn forms(text: &str) -> Vec<Vec<u8>> {
    let mut forms = vec![text.as_bytes().to_vec(), BASE64.encode(text).into_bytes()];
    if let Ok(bytes) = BASE64.decode(text) {
        forms.push(bytes);
    }
    forms
}

#[tokio::test(flavor = "multi_thread")]
async fn no_secret_is_in_the_data_folder_or_in_a_log_at_trace_level() {
    let mut world = World::start_with(ServerOptions::default().arg("--log").arg("trace")).await.unwrap();
    let devices = world.add_devices(&["kitchen"]).await.unwrap();
    let (_, token) = world.server.cli().add_pycom("board").await.unwrap();
    world.bind("lab", &["kitchen", "board"]).await.unwrap();
    let mut device = Device::connect(world.server.mqtt(), &devices[0].id, &devices[0].password).await.unwrap();
    device.publish("21.5").await.unwrap();
    let mut board = Device::connect_pycom(world.server.mqtt(), &token).await.unwrap();
    board.publish_unacknowledged(vec![0x0E, 5, 1, 0, 0, 0, 25, 0]).await.unwrap();
    world.drained("lab", 2).await.unwrap();

    let mut secrets = vec![("device password", devices[0].password.clone()), ("device token", token)];
    let policy = world.hub.connection_string("registryReadWrite");
    let key = policy.split(';').find_map(|pair| pair.strip_prefix("SharedAccessKey=")).unwrap();
    secrets.push(("policy key", key.to_owned()));
    let portal = Portal::log_in(&world.hub).unwrap();
    for name in ["kitchen", "board"] {
        let id = world.hub_device_id("lab", name).await.unwrap();
        let identity = portal.find(&id).await.unwrap().unwrap();
        let (primary, secondary) = identity.keys().unwrap();
        secrets.push(("device key", primary.expose_base64().to_string()));
        secrets.push(("secondary device key", secondary.expose_base64().to_string()));
    }
    let admin = world.server.folder().join("data.admin.json");
    let admin: serde_json::Value = serde_json::from_slice(&std::fs::read(admin).unwrap()).unwrap();
    secrets.push(("API token", admin["token"].as_str().unwrap().to_owned()));
    // Once while it runs (with its write-ahead log), once after it stopped.
    for running in [true, false] {
        if !running {
            world.server.stop().await.unwrap();
        }
        let mut looked = files(&world.server.data());
        assert!(looked.len() >= 2, "there is a database and a journal: {looked:?}");
        looked.push(world.server.log_file());
        for path in looked {
            let bytes = std::fs::read(&path).unwrap();
            for (what, secret) in &secrets {
                for form in forms(secret) {
                    assert!(!holds(&bytes, &form), "the {what} stands in clear in {}", path.display());
                }
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_of_the_data_folder_without_the_key_is_refused_by_key_id() {
    let mut world = World::start().await.unwrap();
    world.add_devices(&["kitchen"]).await.unwrap();
    world.bind("lab", &["kitchen"]).await.unwrap();
    world.server.stop().await.unwrap();
    let copy = world.server.folder().join("copy");
    for path in files(&world.server.data()) {
        let target = copy.join(path.strip_prefix(world.server.data()).unwrap());
        std::fs::create_dir_all(target.parent().unwrap()).unwrap();
        std::fs::copy(&path, &target).unwrap();
    }
    let output = tokio::process::Command::new(binary())
        .args(["up", "--mqtt", "127.0.0.1:0", "--http", "127.0.0.1:0", "--data"])
        .arg(&copy)
        .output();
    let output = tokio::time::timeout(hubward_tests::process::PATIENCE, output).await.unwrap().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(text.contains("key"), "it names the key that is missing: {text}");
    assert!(!world.server.folder().join("copy.key").exists(), "it makes no new key");
}
