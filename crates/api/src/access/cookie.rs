//! The session's cookie, and the CSRF token that goes with it.

use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hubward_registry::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::{Access, Peer};

/// The header that carries the CSRF token.
pub(crate) const CSRF_HEADER: HeaderName = HeaderName::from_static("x-csrf-token");
/// The cookie where the browser takes a secure one: only this host, only over TLS or on this machine.
const SECURE: &str = "__Host-hubward";
/// The cookie where HTTP goes to other machines without TLS.
const PLAIN: &str = "hubward";

/// Whether the browser takes and gives a cookie marked `Secure`: over TLS (ours or the proxy's), and on this machine.
fn secure(access: &Access, peer: Option<Peer>) -> bool {
    access.trust_proxy || peer.is_none_or(|peer| peer.tls || peer.local.ip().to_canonical().is_loopback())
}

fn name(access: &Access, peer: Option<Peer>) -> &'static str {
    if secure(access, peer) { SECURE } else { PLAIN }
}

/// The session's secret that the request carries.
pub(crate) fn secret(access: &Access, peer: Option<Peer>, headers: &HeaderMap) -> Option<SecretString> {
    let name = name(access, peer);
    let cookies = headers.get_all(header::COOKIE).into_iter().filter_map(|value| value.to_str().ok());
    let mut pairs = cookies.flat_map(|value| value.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.find(|(key, _)| *key == name).map(|(_, value)| SecretString::from(value.to_owned()))
}

/// Gives the browser a session. It forgets it when it is closed; the server does at the latest when its time is over.
pub(crate) fn set(access: &Access, peer: Option<Peer>, secret: &SecretString, headers: &mut HeaderMap) {
    put(access, peer, secret.expose_secret(), "", headers);
}

/// Takes the session from the browser.
pub(crate) fn clear(access: &Access, peer: Option<Peer>, headers: &mut HeaderMap) {
    put(access, peer, "", "; Max-Age=0", headers);
}

fn put(access: &Access, peer: Option<Peer>, value: &str, more: &str, headers: &mut HeaderMap) {
    let only_tls = if secure(access, peer) { "; Secure" } else { "" };
    let text = format!("{}={value}; Path=/; HttpOnly; SameSite=Strict{only_tls}{more}", name(access, peer));
    // A secret of ours is letters, digits, - and _.
    if let Ok(mut value) = HeaderValue::from_str(&text) {
        value.set_sensitive(true);
        headers.append(header::SET_COOKIE, value);
    }
}

/// The CSRF token of a session: known to whoever can read the server's answers, which a foreign page cannot.
pub(crate) fn csrf(secret: &SecretString) -> String {
    let hash = Sha256::new().chain_update(b"hubward csrf\0").chain_update(secret.expose_secret()).finalize();
    URL_SAFE_NO_PAD.encode(hash)
}

/// Whether this is the session's CSRF token.
pub(crate) fn is_csrf(secret: &SecretString, sent: &[u8]) -> bool {
    csrf(secret).as_bytes().ct_eq(sent).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(local: &str, tls: bool) -> Option<Peer> {
        let remote = "192.168.1.9:5000".parse().unwrap();
        Some(Peer { remote, local: local.parse().unwrap(), tls })
    }

    #[test]
    fn the_cookie_is_secure_wherever_a_browser_takes_a_secure_one() {
        let plain = Access::default();
        let behind_proxy = Access { trust_proxy: true, ..Access::default() };
        for (access, peer, name, secure) in [
            (&plain, peer("127.0.0.1:8080", false), "__Host-hubward=", true),
            (&plain, peer("[::1]:8080", false), "__Host-hubward=", true),
            (&plain, peer("192.168.1.2:8443", true), "__Host-hubward=", true),
            (&plain, peer("192.168.1.2:8080", false), "hubward=", false),
            (&behind_proxy, peer("10.0.0.2:8080", false), "__Host-hubward=", true),
        ] {
            let mut headers = HeaderMap::new();
            set(access, peer, &SecretString::from("s3cret"), &mut headers);
            let text = headers[header::SET_COOKIE].to_str().unwrap();
            assert!(text.starts_with(name), "{text}");
            assert_eq!(text.contains("; Secure"), secure, "{text}");
            assert!(text.contains("; HttpOnly; SameSite=Strict") && text.contains("; Path=/"), "{text}");
            assert!(!text.contains("Domain"), "{text}");
        }
    }

    #[test]
    fn the_secret_is_read_from_among_other_cookies_under_its_exact_name() {
        let mut headers = HeaderMap::new();
        headers.append(header::COOKIE, HeaderValue::from_static("a=b; hubward=plain;__Host-hubward=right; x=y"));
        let secret = |peer| super::secret(&Access::default(), peer, &headers).unwrap().expose_secret().to_owned();
        assert_eq!(secret(peer("127.0.0.1:1", false)), "right");
        assert_eq!(secret(peer("192.168.1.2:1", false)), "plain");
        assert!(super::secret(&Access::default(), None, &HeaderMap::new()).is_none());
    }

    #[test]
    fn a_csrf_token_belongs_to_one_session() {
        let (one, other) = (SecretString::from("one"), SecretString::from("other"));
        assert!(is_csrf(&one, csrf(&one).as_bytes()));
        assert!(!is_csrf(&other, csrf(&one).as_bytes()));
        assert!(!is_csrf(&one, b""));
        assert!(!csrf(&one).contains("one"));
    }
}
