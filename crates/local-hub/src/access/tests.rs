use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use sha2::Sha256;

use super::*;
use crate::folder::Folder;
use crate::identity::{Authentication, Command, Condition, Draft, Status};

/// A token as Python's device SDK spells it, signed here by hand.
pub(crate) fn token(resource: &str, policy: Option<&str>, key: &str, expires: i64) -> String {
    let sr = utf8_percent_encode(resource, NON_ALPHANUMERIC).to_string();
    let key = if resource.starts_with("sb://") { key.as_bytes().to_vec() } else { STANDARD.decode(key).unwrap() };
    let mut mac = Hmac::<Sha256>::new_from_slice(&key).unwrap();
    mac.update(format!("{sr}\n{expires}").as_bytes());
    let signature = STANDARD.encode(mac.finalize().into_bytes());
    let sig = utf8_percent_encode(&signature, NON_ALPHANUMERIC);
    let skn = policy.map_or_else(String::new, |policy| format!("&skn={policy}"));
    format!("SharedAccessSignature sr={sr}&sig={sig}&se={expires}{skn}")
}

struct Hub {
    _dir: tempfile::TempDir,
    access: Access,
    identities: Arc<Identities>,
    clock: Clock,
}

fn hub() -> Hub {
    let dir = tempfile::tempdir().unwrap();
    let folder = Folder::open(dir.path()).unwrap();
    let clock = Clock::system();
    let identities = Arc::new(Identities::open(&folder.file("r"), None, clock.clone()).unwrap());
    let names = Names::new("hub1", "localhost").unwrap();
    let access = Access::new(
        names,
        Policies::open(&folder).unwrap(),
        identities.clone(),
        clock.clone(),
        crate::faults::Faults::new(clock.clone()),
    );
    Hub { _dir: dir, access, identities, clock }
}

impl Hub {
    fn device(&self, id: &str) -> (Arc<Identity>, String) {
        let draft = Draft { device_id: id.to_owned(), ..Draft::default() };
        self.identities.run(&[Command::Create(draft)]).unwrap().remove(0).unwrap();
        let identity = self.identities.get(id).unwrap();
        let key = identity.authentication.primary_key.clone().unwrap();
        (identity, key)
    }

    fn in_an_hour(&self) -> i64 {
        self.clock.now().as_millis() / 1000 + 3600
    }

    fn policy_key(&self, name: &str) -> String {
        self.access.policy_key(name)
    }
}

#[test]
fn a_devices_token_speaks_for_that_device_alone() {
    let hub = hub();
    let (a, key) = hub.device("a");
    let (ab, _) = hub.device("ab");
    for host in ["localhost", "LOCALHOST:8443", "hub1.azure-devices.net", "127.0.0.1"] {
        let grant = hub.access.check(&token(&format!("{host}/devices/a"), None, &key, hub.in_an_hour())).unwrap();
        assert!(grant.speaks_for(&a, &["devices", "a", "messages", "events"]));
        assert!(!grant.speaks_for(&ab, &["devices", "ab", "messages", "events"]));
        assert!(!grant.has(Right::RegistryRead));
    }
    let secondary = a.authentication.secondary_key.clone().unwrap();
    assert!(hub.access.check(&token("localhost/devices/a", None, &secondary, hub.in_an_hour())).is_ok());
}

#[test]
fn a_token_is_refused_by_the_reason() {
    let hub = hub();
    let (_, key) = hub.device("a");
    let (_, other) = hub.device("b");
    let soon = hub.in_an_hour();
    let denied = |text: &str| hub.access.check(text).unwrap_err();
    assert_eq!(denied(&token("localhost/devices/a", None, &other, soon)), Denied::Signature("a".to_owned()));
    assert_eq!(denied(&token("localhost/devices/c", None, &key, soon)), Denied::UnknownDevice("c".to_owned()));
    assert_eq!(denied(&token("elsewhere/devices/a", None, &key, soon)), Denied::Host("elsewhere".to_owned()));
    assert_eq!(denied(&token("localhost", None, &key, soon)), Denied::Nobody);
    assert_eq!(denied(&token("localhost", Some("nobody"), &key, soon)), Denied::Policy("nobody".to_owned()));
    assert_eq!(denied(&token("localhost", Some("service"), &key, soon)), Denied::Signature("service".to_owned()));
    let past = hub.clock.now().as_millis() / 1000 - 1;
    assert!(matches!(denied(&token("localhost/devices/a", None, &key, past)), Denied::Expired(_)));
    let disabled = Draft { device_id: "a".to_owned(), status: Some(Status::Disabled), ..Draft::default() };
    hub.identities.run(&[Command::Update(disabled, Condition::Any)]).unwrap();
    assert_eq!(denied(&token("localhost/devices/a", None, &key, soon)), Denied::Disabled("a".to_owned()));
    // With a wrong key nobody learns that the device is disabled.
    assert_eq!(denied(&token("localhost/devices/a", None, &other, soon)), Denied::Signature("a".to_owned()));
}

#[test]
fn a_policys_token_has_its_rights_within_its_scope() {
    let hub = hub();
    let (a, _) = hub.device("a");
    let path = ["devices", "a", "messages", "events"];
    let grant = |policy: &str, resource: &str| {
        hub.access.check(&token(resource, Some(policy), &hub.policy_key(policy), hub.in_an_hour())).unwrap()
    };
    assert!(grant("device", "localhost").speaks_for(&a, &path));
    assert!(grant("device", "localhost/devices").speaks_for(&a, &path));
    assert!(!grant("device", "localhost/devices/b").speaks_for(&a, &path));
    assert!(!grant("service", "localhost").speaks_for(&a, &path));
    assert!(grant("service", "sb://localhost/hub1").may_read(&[&["hub1", "ConsumerGroups"]]));
    assert!(grant("service", "localhost/messages/events").may_read(&[&["messages", "events"]]));
    assert!(!grant("device", "localhost").may_read(&[&["hub1"]]));
}

#[test]
fn a_grant_ends_with_its_token_and_with_its_key() {
    let hub = hub();
    let (a, key) = hub.device("a");
    let path = ["devices", "a"];
    let grant = hub.access.check(&token("localhost/devices/a", None, &key, hub.in_an_hour())).unwrap();
    assert!(!grant.has_expired(hub.clock.now()));
    hub.clock.advance(Duration::from_secs(3601));
    assert!(grant.has_expired(hub.clock.now()));
    let rolled = Authentication {
        primary_key: Some(crate::policies::new_key()),
        secondary_key: a.authentication.secondary_key.clone(),
        ..Authentication::default()
    };
    let draft = Draft { device_id: "a".to_owned(), authentication: Some(rolled), ..Draft::default() };
    hub.identities.run(&[Command::Update(draft, Condition::Any)]).unwrap();
    assert!(!grant.speaks_for(&hub.identities.get("a").unwrap(), &path));
}

#[test]
fn neither_keys_nor_tokens_show_in_debug_text() {
    let hub = hub();
    let (a, key) = hub.device("a");
    let text = token("localhost/devices/a", None, &key, hub.in_an_hour());
    let grant = hub.access.check(&text).unwrap();
    let shown = format!("{grant:?} {a:?} {:?}", Token::parse(&text).unwrap());
    assert!(!shown.contains(&key) && !shown.contains("sig"), "{shown}");
}
