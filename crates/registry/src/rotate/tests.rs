use std::future::Future as _;
use std::path::Path;
use std::task::{Context, Waker};

use secrecy::{ExposeSecret as _, SecretString};

use crate::testing::{device, integration, open, registry};
use crate::{HubSide, KeySource, Registry};

/// A registry with a secret in every sealed column.
async fn full(registry: &Registry) {
    let (a, b) = (device(registry, "a").await, device(registry, "b").await);
    let azure = integration(registry, "azure", &[(&a, "a-1"), (&b, "b-1")]).await;
    registry.remove_bindings(&azure.id, &[b], HubSide::DeleteLater).await.unwrap();
}

async fn assert_all_opens(registry: &Registry) {
    let azure = registry.find_integration("azure").await.unwrap();
    let string = registry.connection_string(&azure.id).await.unwrap();
    assert!(string.expose_secret().ends_with("policy-key-of-azure"));
    let device = registry.find_device("a").await.unwrap();
    let keys = registry.keys(&azure.id, &device.id).await.unwrap();
    assert_eq!(keys.primary.expose_secret(), "primary-key-of-a-1");
    assert_eq!(keys.secondary.expose_secret(), "secondary-key-of-a-1");
    let pending = registry.pending_deletions().await.unwrap().remove(0);
    let string = registry.deletion_connection_string(&pending.id).await.unwrap();
    assert!(string.expose_secret().ends_with("policy-key-of-azure"));
}

async fn data_keys(registry: &Registry) -> Vec<String> {
    sqlx::query_scalar("SELECT id FROM data_keys").fetch_all(registry.readers()).await.unwrap()
}

fn copy_folder(from: &Path, to: &Path) {
    std::fs::create_dir(to.join("data")).unwrap();
    std::fs::copy(from.join("data/registry.db"), to.join("data/registry.db")).unwrap();
}

#[tokio::test]
async fn after_a_rotation_every_secret_is_sealed_under_new_keys_and_opens() {
    let (registry, folder) = registry().await;
    full(&registry).await;
    let (before, old) = (registry.key_info(), data_keys(&registry).await);
    let rotated = registry.rotate_keys().await.unwrap();
    assert!(rotated.master_key_changed && rotated.master_key_id != before.master_key_id);
    assert_eq!(rotated.resealed, 4);
    assert_eq!(registry.key_info().master_key_id, rotated.master_key_id);
    assert_eq!(data_keys(&registry).await, [rotated.data_key_id]);
    assert_ne!(data_keys(&registry).await, old);
    assert_all_opens(&registry).await;
    drop(registry);
    assert_all_opens(&open(folder.path()).await.unwrap()).await;
}

#[tokio::test]
async fn a_backup_from_before_a_rotation_opens_with_the_key_file_from_after_it() {
    let (registry, folder) = registry().await;
    full(&registry).await;
    registry.close().await;
    drop(registry);
    let backup = tempfile::tempdir().unwrap();
    copy_folder(folder.path(), backup.path());
    open(folder.path()).await.unwrap().rotate_keys().await.unwrap();
    std::fs::copy(folder.path().join("data.key"), backup.path().join("data.key")).unwrap();
    assert_all_opens(&open(backup.path()).await.unwrap()).await;
}

#[tokio::test]
async fn with_a_key_from_the_environment_the_first_of_them_is_rotated_to() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("data").join("registry.db");
    let keys = |text: String| KeySource { text: Some(SecretString::from(text)), file: folder.path().join("no.key") };
    let (old, new) = ("ab".repeat(32), "cd".repeat(32));
    let registry = Registry::open(&path, keys(old.clone())).await.unwrap();
    full(&registry).await;
    assert!(!registry.rotate_keys().await.unwrap().master_key_changed);
    drop(registry);
    let registry = Registry::open(&path, keys(format!("{new} {old}"))).await.unwrap();
    assert!(registry.rotate_keys().await.unwrap().master_key_changed);
    drop(registry);
    assert!(Registry::open(&path, keys(old)).await.is_err());
    assert_all_opens(&Registry::open(&path, keys(new)).await.unwrap()).await;
}

#[tokio::test]
async fn a_rotation_dropped_anywhere_loses_nothing_then_or_after_a_restart() {
    let (mut registry, folder) = registry().await;
    full(&registry).await;
    for polls in 0..80 {
        let mut rotation = Box::pin(registry.rotate_keys());
        for _ in 0..polls {
            if rotation.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready() {
                break;
            }
            // The database's own thread works on.
            registry.devices().await.unwrap();
        }
        drop(rotation);
        assert_all_opens(&registry).await;
        let id = device(&registry, &format!("d{polls}")).await;
        let other = integration(&registry, &format!("i{polls}"), &[(&id, &format!("d{polls}-1"))]).await;
        drop(registry);
        registry = open(folder.path()).await.unwrap();
        assert_all_opens(&registry).await;
        registry.connection_string(&other.id).await.unwrap();
        registry.remove_integration(&other.id, HubSide::Settled).await.unwrap();
        registry.remove_device(&id).await.unwrap();
    }
    registry.rotate_keys().await.unwrap();
    assert_eq!(data_keys(&registry).await.len(), 1);
}
