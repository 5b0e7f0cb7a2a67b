use secrecy::ExposeSecret as _;

use super::*;
use crate::testing::{device, integration, new_binding, new_integration, registry};

#[tokio::test]
async fn an_integration_is_read_back_as_it_was_made_with_its_secret_apart() {
    let (registry, _folder) = registry().await;
    let mut new = new_integration("azure");
    new.settings = Settings {
        body: BodyFormat::Json,
        transport: Transport::MqttWs,
        content_type: Some("text/plain".to_owned()),
        all_devices: true,
        device_id_template: "{id}".to_owned(),
        on_existing: OnExisting::Adopt,
        on_missing: OnMissing::Hold,
        on_missing_keys: OnMissingKeys::New,
        on_full: OnFull::ExpireOldest,
        backlog_limit: 1 << 33,
        device_backlog_limit: 1 << 20,
        device_backlog_age: std::time::Duration::from_secs(3600),
        hub_ca: Some("PEM".to_owned()),
        hub_endpoint: Some("https=127.0.0.1:1".to_owned()),
        capacity: Some(Capacity::new(Tier::S2, 7).unwrap()),
        ..new.settings
    };
    let made = registry.add_integration(new.clone(), Vec::new()).await.unwrap();
    assert_eq!((made.host_name.as_str(), made.state), ("hub.azure-devices.net", IntegrationState::Creating));
    assert_eq!(made.settings, new.settings);
    assert_eq!(registry.integration(&made.id).await.unwrap(), made);
    assert_eq!(registry.find_integration("azure").await.unwrap(), made);
    assert_eq!(registry.find_integration(made.id.as_str()).await.unwrap(), made);
    assert_eq!(registry.integrations().await.unwrap(), std::slice::from_ref(&made));
    let secret = registry.connection_string(&made.id).await.unwrap();
    assert_eq!(secret.expose_secret(), new.connection_string.expose_secret());
    let taken = registry.add_integration(new_integration("azure"), Vec::new()).await;
    assert!(matches!(taken, Err(Error::NameTaken { .. })));
}

#[tokio::test]
async fn an_edit_changes_what_it_names_and_nothing_else() {
    let (registry, _folder) = registry().await;
    let before = integration(&registry, "azure", &[]).await;
    registry.set_integration_state(&before.id, IntegrationState::Active, Some("was slow")).await.unwrap();
    let edit = Edit { name: Some("cloud".parse().unwrap()), ..Edit::default() };
    let after = registry.edit_integration(&before.id, Some(1), edit).await.unwrap();
    assert_eq!((after.name.as_str(), after.version), ("cloud", 2));
    assert_eq!((&after.settings, after.state), (&before.settings, IntegrationState::Active));
    assert_eq!(registry.integration(&before.id).await.unwrap(), after);
    let rolled = SecretString::from("HostName=hub;SharedAccessKey=rolled");
    let edit = Edit {
        connection_string: Some(rolled),
        settings: Some(Settings::new("Hum".parse().unwrap())),
        ..Edit::default()
    };
    let after = registry.edit_integration(&before.id, None, edit).await.unwrap();
    assert_eq!(after.settings.topic.as_str(), "Hum");
    let secret = registry.connection_string(&before.id).await.unwrap();
    assert!(secret.expose_secret().ends_with("rolled"));
}

#[tokio::test]
async fn an_edit_of_an_older_version_is_refused_but_a_change_of_state_is_no_edit() {
    let (registry, _folder) = registry().await;
    let azure = integration(&registry, "azure", &[]).await;
    registry.set_integration_state(&azure.id, IntegrationState::Paused, None).await.unwrap();
    registry.edit_integration(&azure.id, Some(1), Edit::default()).await.unwrap();
    let error = registry.edit_integration(&azure.id, Some(1), Edit::default()).await.unwrap_err();
    assert!(matches!(error, Error::Stale { .. }), "{error}");
    integration(&registry, "second", &[]).await;
    let edit = Edit { name: Some("second".parse().unwrap()), ..Edit::default() };
    assert!(matches!(registry.edit_integration(&azure.id, None, edit).await, Err(Error::NameTaken { .. })));
}

#[tokio::test]
async fn a_removal_that_began_is_remembered_and_only_it_goes_on() {
    let (registry, folder) = registry().await;
    let board = device(&registry, "board").await;
    let azure = integration(&registry, "azure", &[]).await;
    let removal = Removal { keep_identities: true, discard_backlog: false };
    registry.begin_removal(&azure.id, removal).await.unwrap();
    drop(registry);
    let registry = crate::testing::open(folder.path()).await.unwrap();
    let found = registry.integration(&azure.id).await.unwrap();
    assert_eq!((found.state, found.removal), (IntegrationState::Removing, Some(removal)));
    let state = registry.set_integration_state(&azure.id, IntegrationState::Active, None).await;
    assert!(matches!(state, Err(Error::Stale { .. })));
    assert!(registry.edit_integration(&azure.id, None, Edit::default()).await.is_err());
    let binding = new_binding(&board, "board-1");
    assert!(matches!(registry.add_bindings(&azure.id, vec![binding]).await, Err(Error::Stale { .. })));
    registry.remove_integration(&azure.id, HubSide::Settled).await.unwrap();
    assert!(matches!(registry.integration(&azure.id).await, Err(Error::NotFound { .. })));
    assert!(matches!(registry.begin_removal(&azure.id, removal).await, Err(Error::NotFound { .. })));
}
