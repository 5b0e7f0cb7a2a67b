use std::future::Future as _;
use std::path::Path;
use std::pin::pin;
use std::task::{Context, Waker};

use hubward_model::{DeviceKind, JournalId};
use secrecy::ExposeSecret as _;
use tempfile::TempDir;

use super::*;
use crate::testing::{device, integration, name, new_binding, new_integration, open, registry};
use crate::{Edit, HubSide, NewCredential, NewDevice, OpenError};

/// What a kill at this moment leaves, opened with the same key.
async fn after_a_kill(folder: &TempDir) -> (Registry, TempDir) {
    let copy = tempfile::tempdir().unwrap();
    copy_data(folder.path(), copy.path());
    fs::copy(folder.path().join("data.key"), copy.path().join("data.key")).unwrap();
    (open(copy.path()).await.unwrap(), copy)
}

fn copy_data(from: &Path, to: &Path) {
    fs::create_dir(to.join("data")).unwrap();
    for entry in fs::read_dir(from.join("data")).unwrap() {
        let entry = entry.unwrap();
        // The shared-memory file is an index that the next opening makes anew.
        if entry.path().extension().is_none_or(|extension| extension != "db-shm") {
            fs::copy(entry.path(), to.join("data").join(entry.file_name())).unwrap();
        }
    }
}

#[tokio::test]
async fn the_first_start_makes_a_key_beside_the_data_folder_and_the_next_one_uses_it() {
    let (registry, folder) = registry().await;
    let first = registry.key_info();
    assert!(first.created);
    assert_eq!(first.key_file.as_deref(), Some(folder.path().join("data.key").as_path()));
    registry.close().await;
    drop(registry);
    let second = open(folder.path()).await.unwrap().key_info();
    assert!(!second.created);
    assert_eq!(second.master_key_id, first.master_key_id);
    let names: Vec<_> =
        fs::read_dir(folder.path().join("data")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(names.iter().all(|name| name.to_string_lossy().starts_with("registry.db")), "{names:?}");
}

#[tokio::test]
#[cfg(unix)]
async fn the_database_is_for_its_owner_alone() {
    use std::os::unix::fs::MetadataExt as _;
    let (registry, folder) = registry().await;
    device(&registry, "board").await;
    let files: Vec<_> = fs::read_dir(folder.path().join("data")).unwrap().map(Result::unwrap).collect();
    assert!(files.len() > 1, "there is a write-ahead log");
    for file in files {
        assert_eq!(file.metadata().unwrap().mode() & 0o077, 0, "{:?}", file.path());
    }
}

#[tokio::test]
async fn without_its_key_the_registry_stays_shut_names_the_key_and_makes_no_new_one() {
    let (registry, folder) = registry().await;
    let key_id = registry.key_info().master_key_id;
    drop(registry);
    fs::remove_file(folder.path().join("data.key")).unwrap();
    let error = open(folder.path()).await.unwrap_err();
    assert!(matches!(&error, OpenError::KeyMissing { key_id: named, .. } if *named == key_id), "{error}");
    assert!(error.problem().remedy.contains(&key_id));
    assert!(!folder.path().join("data.key").exists());
}

#[tokio::test]
async fn a_copy_of_the_folder_without_the_key_opens_nothing() {
    let (registry, folder) = registry().await;
    let board = device(&registry, "board").await;
    integration(&registry, "azure", &[(&board, "board-1")]).await;
    let copy = tempfile::tempdir().unwrap();
    copy_data(folder.path(), copy.path());
    assert!(matches!(open(copy.path()).await, Err(OpenError::KeyMissing { .. })));
    assert!(!copy.path().join("data.key").exists());
}

#[tokio::test]
async fn another_key_is_refused_and_the_right_one_named() {
    let (first, folder) = registry().await;
    let (other, other_folder) = registry().await;
    let (wanted, given) = (first.key_info().master_key_id, other.key_info().master_key_id);
    drop(first);
    fs::copy(other_folder.path().join("data.key"), folder.path().join("data.key")).unwrap();
    match open(folder.path()).await.unwrap_err() {
        OpenError::WrongKey { wanted: named, given: shown, .. } => assert_eq!((named, shown), (wanted, given)),
        error => panic!("{error}"),
    }
}

#[tokio::test]
async fn a_key_from_the_environment_wins_and_no_file_is_made() {
    let folder = tempfile::tempdir().unwrap();
    let (path, file) = (folder.path().join("data").join("registry.db"), folder.path().join("data.key"));
    let keys = |hex: &str| KeySource { text: Some(SecretString::from(hex.repeat(32))), file: file.clone() };
    let registry = Registry::open(&path, keys("ab")).await.unwrap();
    assert_eq!(registry.key_info().key_file, None);
    assert!(!file.exists());
    drop(registry);
    assert!(matches!(Registry::open(&path, keys("cd")).await, Err(OpenError::WrongKey { .. })));
    let bad = KeySource { text: Some(SecretString::from("a passphrase")), file: file.clone() };
    assert!(matches!(Registry::open(&path, bad).await, Err(OpenError::Key(_))));
    assert!(Registry::open(&path, keys("ab")).await.is_ok());
}

#[tokio::test]
async fn a_key_file_with_the_data_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    for file in [data.join("hubward.key"), data.join("../data/keys/../hubward.key")] {
        let keys = KeySource { text: None, file: file.clone() };
        fs::create_dir_all(data.join("keys")).unwrap();
        let error = Registry::open(&data.join("registry.db"), keys).await.unwrap_err();
        assert_eq!(error.problem().code, "key_file_inside");
        assert!(!file.exists());
    }
}

#[tokio::test]
async fn a_start_killed_before_its_first_key_is_stored_begins_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("data").join("registry.db");
    create_private(&path).unwrap();
    let mut connection = SqliteConnection::connect_with(&options(&path)).await.unwrap();
    migrate(&mut connection, &path).await.unwrap();
    // The key file may be there already: it is synced first.
    let made = MasterKeys::create(&folder.path().join("data.key")).unwrap();
    drop(connection);
    let registry = open(folder.path()).await.unwrap();
    assert_eq!(registry.key_info().master_key_id, made.first().id());
}

#[tokio::test]
async fn a_database_of_a_newer_hubward_is_refused_by_its_version() {
    let (registry, folder) = registry().await;
    let sql = "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) \
               VALUES (99, 'later', TRUE, x'00', 0)";
    sqlx::query(sql).execute(&mut *registry.writer().await.connection).await.unwrap();
    drop(registry);
    match open(folder.path()).await.unwrap_err() {
        OpenError::Newer { found: 99, known, .. } => {
            assert_eq!(Some(known), MIGRATIONS.iter().map(|migration| migration.version).max());
        }
        error => panic!("{error}"),
    }
}

#[tokio::test]
async fn no_secret_lies_in_clear_in_any_file_or_any_debug_text() {
    let (registry, folder) = registry().await;
    let mut secrets = Vec::new();
    let mut keep = |secret: &SecretString| secrets.push(secret.expose_secret().to_owned());

    let mut shown = String::new();
    let board = registry.add_device(NewDevice::new(name("board"), DeviceKind::Mqtt)).await.unwrap();
    let pycom = registry.add_device(NewDevice::new(name("wipy"), DeviceKind::Pycom)).await.unwrap();
    keep(&board.secret);
    keep(&pycom.secret);
    let token = SecretString::from("9f262000-1111-4222-8333-444455556666");
    let imported = NewCredential::Token(token.clone());
    let imported = NewDevice { credential: imported, ..NewDevice::new(name("lopy"), DeviceKind::Pycom) };
    shown += &format!("{imported:?}");
    registry.add_device(imported).await.unwrap();
    let password = SecretString::from("imported password");
    let fleet = NewCredential::Password(password.clone());
    let fleet = NewDevice { credential: fleet, ..NewDevice::new(name("fleet"), DeviceKind::Mqtt) };
    shown += &format!("{fleet:?}");
    registry.add_device(fleet).await.unwrap();
    keep(&token);
    keep(&password);
    keep(
        &registry
            .rotate_device(&board.value.id, NewCredential::Random, std::time::Duration::ZERO)
            .await
            .unwrap()
            .secret,
    );

    let new = new_integration("azure");
    let binding = new_binding(&board.value.id, "board-1");
    let next = new_binding(&pycom.value.id, "wipy-1");
    for secret in [&new.connection_string, &binding.primary_key, &binding.secondary_key, &next.primary_key] {
        keep(secret);
    }
    shown += &format!("{new:?} {binding:?}");
    let azure = registry.add_integration(new, vec![binding, next]).await.unwrap();
    let rolled = SecretString::from("HostName=hub;SharedAccessKey=the-rolled-policy-key");
    keep(&rolled);
    let edit = Edit { connection_string: Some(rolled), ..Edit::default() };
    shown += &format!("{edit:?}");
    registry.edit_integration(&azure.id, None, edit).await.unwrap();
    shown += &format!("{:?}", registry.all_keys(&azure.id).await.unwrap());
    registry.remove_bindings(&azure.id, std::slice::from_ref(&pycom.value.id), HubSide::DeleteLater).await.unwrap();

    let api = registry.create_token("ci", &[], None).await.unwrap();
    let person = SecretString::from("a person's password");
    registry.add_user("ann", &person, crate::Role::Admin).await.unwrap();
    keep(&api.secret);
    keep(&person);
    shown += &format!("{board:?} {api:?} {registry:?}");
    registry.rotate_keys().await.unwrap();

    let master_keys = fs::read_to_string(folder.path().join("data.key")).unwrap();
    secrets.extend(master_keys.lines().filter(|line| !line.starts_with('#')).map(str::to_owned));
    assert_eq!(secrets.len(), 14);
    let mut read = 0;
    for closed in [false, true] {
        if closed {
            registry.close().await;
        }
        for entry in fs::read_dir(folder.path().join("data")).unwrap() {
            let path = entry.unwrap().path();
            let bytes = fs::read(&path).unwrap();
            read += bytes.len();
            for secret in &secrets {
                let clear = bytes.windows(secret.len()).any(|window| window == secret.as_bytes());
                assert!(!clear, "{secret:?} in {}", path.display());
            }
        }
    }
    assert!(read > 100_000);
    for secret in &secrets {
        assert!(!shown.contains(secret.as_str()), "{secret:?} in {shown}");
    }
}

#[tokio::test]
async fn what_a_method_promised_is_there_after_a_kill_right_behind_it() {
    let (registry, folder) = registry().await;
    let board = device(&registry, "board").await;
    let (copy, _copy_folder) = after_a_kill(&folder).await;
    assert_eq!(copy.devices().await.unwrap(), registry.devices().await.unwrap());
    assert!(copy.device_name(&board).is_some());

    let azure = integration(&registry, "azure", &[(&board, "board-1")]).await;
    let (copy, _copy_folder) = after_a_kill(&folder).await;
    assert_eq!(copy.integration(&azure.id).await.unwrap(), azure);
    let key = copy.keys(&azure.id, &board).await.unwrap().primary;
    assert_eq!(key.expose_secret(), "primary-key-of-board-1");

    let journal = JournalId::random();
    registry.remember_journal_id(&journal).await.unwrap();
    let (copy, _copy_folder) = after_a_kill(&folder).await;
    assert_eq!(copy.journal_id().await.unwrap(), Some(journal));

    registry.remove_bindings(&azure.id, std::slice::from_ref(&board), HubSide::DeleteLater).await.unwrap();
    let (copy, _copy_folder) = after_a_kill(&folder).await;
    assert!(copy.bindings(&azure.id).await.unwrap().is_empty());
    assert_eq!(copy.pending_deletions().await.unwrap().len(), 1);
}

/// A server drops the work of a client that went away. Wherever that happens, database and logins agree afterwards.
#[tokio::test]
async fn a_change_dropped_half_way_is_done_or_not_done_but_never_half() {
    let (registry, _folder) = registry().await;
    for polls in 0..60 {
        let mut change = Box::pin(registry.add_device(NewDevice::new(name(&format!("d{polls}")), DeviceKind::Mqtt)));
        for _ in 0..polls {
            let poll = change.as_mut().poll(&mut Context::from_waker(Waker::noop()));
            if poll.is_ready() {
                break;
            }
            // The database's own thread works on.
            tokio::task::yield_now().await;
            let other = registry.devices();
            pin!(other).await.unwrap();
        }
        drop(change);
        // Any login brings the memory up to date.
        let attempt = crate::LoginAttempt { client_id: "", username: None, password: None };
        assert!(registry.verify_login(&attempt).await.is_err());
        let devices = registry.devices().await.unwrap();
        assert!(devices.iter().all(|device| registry.device_name(&device.id).is_some()));
    }
    device(&registry, "the next").await;
}

/// A full disk makes SQLite end a transaction by itself; what comes after it must not fail once there is room.
#[tokio::test]
async fn after_a_disk_was_full_the_next_change_is_written() {
    let (registry, _folder) = registry().await;
    let board = device(&registry, "board").await;
    {
        let mut writer = registry.writer().await;
        sqlx::query("PRAGMA max_page_count = 1").execute(&mut *writer.connection).await.unwrap();
        let full = async {
            let mut tx = writer.connection.begin_with("BEGIN IMMEDIATE").await?;
            let insert = sqlx::query("INSERT INTO meta (key, value) VALUES ('large', $1)").bind("x".repeat(100_000));
            insert.execute(&mut *tx).await?;
            tx.commit().await
        };
        let error = full.await.unwrap_err().to_string();
        assert!(error.contains("full"), "{error}");
    }
    registry.rename_device(&board, name("kitchen")).await.unwrap();
    assert_eq!(registry.device_name(&board), Some(name("kitchen")));
    let (all, large) = (registry.devices().await.unwrap(), "SELECT COUNT(*) FROM meta WHERE key = 'large'");
    assert_eq!(all[0].name, name("kitchen"));
    assert_eq!(sqlx::query_scalar::<_, i64>(large).fetch_one(registry.readers()).await.unwrap(), 0);
}
