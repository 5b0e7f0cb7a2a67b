use std::time::Duration;

use secrecy::SecretString;
use tempfile::TempDir;

use super::{SESSIONS_OF_ONE, SessionLimits};
use crate::testing::registry;
use crate::{Error, Registry, Role};

async fn with_user(name: &str) -> (Registry, TempDir) {
    let (registry, folder) = registry().await;
    registry.add_user(name, &SecretString::from("long enough"), Role::Operator).await.unwrap();
    (registry, folder)
}

#[tokio::test]
async fn a_session_is_known_by_its_secret_until_it_is_ended() {
    let (registry, _folder) = with_user("ann").await;
    let limits = SessionLimits::default();
    let made = registry.start_session("ann", limits, Some("127.0.0.1"), Some("test")).await.unwrap();
    assert_eq!((made.value.user.as_str(), made.value.role), ("ann", Role::Operator));
    assert_eq!(registry.use_session(&made.secret, limits).await.unwrap().unwrap().id, made.value.id);
    assert!(registry.use_session(&SecretString::from("other"), limits).await.unwrap().is_none());
    assert!(registry.user("ann").await.unwrap().last_login_at.is_some());

    let mut changes = registry.access_changes();
    registry.end_session(&made.value.id).await.unwrap();
    assert!(changes.has_changed().unwrap());
    changes.mark_unchanged();
    assert!(registry.use_session(&made.secret, limits).await.unwrap().is_none());
    assert!(!registry.session_lasts(&made.value.id, limits).await.unwrap());
    assert!(matches!(registry.end_session(&made.value.id).await, Err(Error::NotFound { .. })));
}

#[tokio::test]
async fn a_session_ends_when_it_is_idle_and_when_its_time_is_over() {
    let (registry, _folder) = with_user("ann").await;
    let long = SessionLimits::default();
    let made = registry.start_session("ann", long, None, None).await.unwrap();
    let idle = SessionLimits { idle: Duration::ZERO, ..long };
    assert!(registry.use_session(&made.secret, idle).await.unwrap().is_none());
    assert!(registry.sessions(idle).await.unwrap().is_empty());
    assert!(registry.use_session(&made.secret, long).await.unwrap().is_some(), "asking does not end it");

    let over = SessionLimits { lifetime: Duration::ZERO, ..long };
    let made = registry.start_session("ann", over, None, None).await.unwrap();
    assert!(registry.use_session(&made.secret, long).await.unwrap().is_none());
}

#[tokio::test]
async fn a_new_password_and_a_removal_end_sessions_and_a_role_is_the_newest() {
    let (registry, _folder) = with_user("ann").await;
    let limits = SessionLimits::default();
    let first = registry.start_session("ann", limits, None, None).await.unwrap();
    let second = registry.start_session("ann", limits, None, None).await.unwrap();
    registry.set_role("ann", None, Role::Viewer).await.unwrap();
    assert_eq!(registry.use_session(&first.secret, limits).await.unwrap().unwrap().role, Role::Viewer);

    registry.set_password("ann", &SecretString::from("another one"), Some(&second.value.id)).await.unwrap();
    assert!(registry.use_session(&first.secret, limits).await.unwrap().is_none());
    assert!(registry.use_session(&second.secret, limits).await.unwrap().is_some());
    registry.remove_user("ann").await.unwrap();
    assert!(registry.use_session(&second.secret, limits).await.unwrap().is_none());
    assert!(registry.start_session("ann", limits, None, None).await.is_err());
}

#[tokio::test]
async fn the_number_of_sessions_of_one_person_is_bounded() {
    let (registry, _folder) = with_user("ann").await;
    let limits = SessionLimits::default();
    for _ in 0..SESSIONS_OF_ONE + 2 {
        registry.start_session("ann", limits, None, None).await.unwrap();
    }
    let newest = registry.start_session("ann", limits, None, None).await.unwrap();
    let sessions = registry.sessions(limits).await.unwrap();
    assert_eq!(i64::try_from(sessions.len()).unwrap(), SESSIONS_OF_ONE);
    assert!(sessions.iter().any(|session| session.id == newest.value.id));
}
