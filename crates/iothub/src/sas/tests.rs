use std::sync::atomic::{AtomicU64, Ordering};
use std::time::UNIX_EPOCH;

use super::*;

const KEY: &str = "dGhpcyBpcyBhIHRlc3Qga2V5IG9mIDMyIGJ5dGVzISE=";
const EXPIRY: u64 = 1_795_386_533;

fn key() -> SharedAccessKey {
    SharedAccessKey::from_base64(KEY).unwrap()
}

// The expected texts were computed with Python's hmac, hashlib and urllib the way Microsoft's Python SDKs do.

#[test]
fn a_device_token_is_signed_with_the_decoded_key() {
    let token = sign(&device_resource("hub.azure-devices.net", "dev1"), &key(), EXPIRY, None, Style::IotHub);
    assert_eq!(
        token.expose(),
        "SharedAccessSignature sr=hub.azure-devices.net%2Fdevices%2Fdev1\
         &sig=iZLUhNYayS%2B2JOi1wVTxlJp5oxhRrySc5J2FkTi5Qr0%3D&se=1795386533"
    );
}

#[test]
fn a_device_id_with_a_blank_and_a_hash_is_encoded_once() {
    let token = sign(&device_resource("hub.azure-devices.net", "dev #1"), &key(), EXPIRY, None, Style::IotHub);
    assert_eq!(
        token.expose(),
        "SharedAccessSignature sr=hub.azure-devices.net%2Fdevices%2Fdev%20%231\
         &sig=Sx7GJTXCkTe7zk2Wv9Q3q9g4VsJgisRq7ZLn1XHpxdE%3D&se=1795386533"
    );
}

#[test]
fn a_policy_token_names_its_policy() {
    let token = sign("hub.azure-devices.net", &key(), EXPIRY, Some("registryReadWrite"), Style::IotHub);
    assert_eq!(
        token.expose(),
        "SharedAccessSignature sr=hub.azure-devices.net\
         &sig=asTdq5ZrUGdPrQv1kRG27u%2BWHWl6a2xtw1rxIgNkPEc%3D&se=1795386533&skn=registryReadWrite"
    );
}

#[test]
fn an_event_hubs_token_is_signed_with_the_text_of_the_key() {
    let token = sign("sb://hub.azure-devices.net/hub", &key(), EXPIRY, Some("service"), Style::EventHubs);
    assert_eq!(
        token.expose(),
        "SharedAccessSignature sr=sb%3A%2F%2Fhub.azure-devices.net%2Fhub\
         &sig=2hcrCgvSEjkwQ8El9n7ZgugqtL5Zw%2BQD2NBHFLzxifI%3D&se=1795386533&skn=service"
    );
}

fn clock_at(seconds: &Arc<AtomicU64>) -> Clock {
    let seconds = Arc::clone(seconds);
    Clock::from_fn(move || UNIX_EPOCH + Duration::from_secs(seconds.load(Ordering::SeqCst)))
}

#[test]
fn a_token_is_kept_until_it_is_due_for_renewal() {
    let now = Arc::new(AtomicU64::new(1_000_000));
    let source = TokenSource::device("hub", "dev1", key(), Lifetime::DEFAULT, clock_at(&now));
    let first = source.token();
    assert_eq!(first.expires_at(), 1_003_600);
    assert_eq!(source.renew_in(&first), Duration::from_secs(2700));

    now.store(1_002_699, Ordering::SeqCst);
    assert_eq!(source.token().expires_at(), 1_003_600);
    now.store(1_002_700, Ordering::SeqCst);
    assert_eq!(source.token().expires_at(), 1_006_300);
    assert_eq!(source.renew_in(&first), Duration::ZERO);
}

#[test]
fn a_clock_that_was_set_back_gets_a_new_token() {
    let now = Arc::new(AtomicU64::new(2_000_000));
    let source = TokenSource::policy("hub", "p", key(), Lifetime::DEFAULT, clock_at(&now));
    let _ = source.token();
    now.store(1_000_000, Ordering::SeqCst);
    assert_eq!(source.token().expires_at(), 1_003_600);
}

#[test]
fn neither_token_nor_source_shows_its_secret_in_debug() {
    let source = TokenSource::device("hub", "dev1", key(), Lifetime::DEFAULT, Clock::system());
    let shown = format!("{:?} {:?}", source.token(), source);
    assert!(!shown.contains(KEY) && !shown.contains("sig="), "{shown}");
}
