use secrecy::ExposeSecret as _;
use serde_json::json;

use super::*;
use crate::testing::registry;

#[tokio::test]
async fn a_draft_keeps_what_was_typed_and_its_string_only_sealed() {
    let (registry, folder) = registry().await;
    let draft = registry.add_draft(&json!({ "name": "PyComTemp" })).await.unwrap();
    assert_eq!((draft.version, draft.login.is_none()), (1, true));
    assert!(registry.draft_connection_string(&draft.id).await.unwrap().is_none());
    let login = DraftLogin {
        connection_string: SecretString::from("HostName=h;SharedAccessKey=very-secret-key".to_owned()),
        hub_ca: None,
        hub_endpoint: Some("https=127.0.0.1:1".to_owned()),
        found: json!({ "hub": "h" }),
    };
    let draft = registry.log_draft_in(&draft.id, &login).await.unwrap();
    assert_eq!((draft.version, draft.login.as_ref().unwrap()["hub"].as_str()), (2, Some("h")));
    let edited = registry.edit_draft(&draft.id, Some(2), &json!({ "name": "other" })).await.unwrap();
    assert_eq!(edited.version, 3);
    assert!(matches!(registry.edit_draft(&draft.id, Some(2), &json!({})).await, Err(Error::Stale { .. })));
    assert_eq!(registry.drafts().await.unwrap(), [edited]);

    // The key is changed under it.
    registry.rotate_keys().await.unwrap();
    let string = registry.draft_connection_string(&draft.id).await.unwrap().unwrap();
    assert_eq!(string.expose_secret(), login.connection_string.expose_secret());
    registry.close().await;
    for file in std::fs::read_dir(folder.path().join("data")).unwrap() {
        let bytes = std::fs::read(file.unwrap().path()).unwrap();
        assert!(!bytes.windows(15).any(|window| window == b"very-secret-key"));
    }
}

#[tokio::test]
async fn a_draft_goes_with_its_secret_and_there_are_only_so_many() {
    let (registry, _folder) = registry().await;
    let first = registry.add_draft(&json!({})).await.unwrap();
    registry.remove_draft(&first.id).await.unwrap();
    assert!(matches!(registry.remove_draft(&first.id).await, Err(Error::NotFound { .. })));
    for _ in 0..MAX_DRAFTS {
        registry.add_draft(&json!({})).await.unwrap();
    }
    assert!(matches!(registry.add_draft(&json!({})).await, Err(Error::TooMany { .. })));
}
