//! Which hosts and origins a request may name.

use std::net::IpAddr;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::Next;
use axum::response::Response;

use super::Peer;
use crate::{ApiError, Services};

/// Refuses requests that a foreign web page makes a browser send: on loopback the `Host` must be this machine's own
/// (a name of the page's that resolves to 127.0.0.1 is not), and an `Origin` must be the one that is asked.
/// Behind a proxy the host is the proxy's affair.
pub(crate) async fn check_host(
    State(services): State<Services>,
    request: Request,
    next: Next,
) -> Result<Response, ApiError> {
    let peer = request.extensions().get::<Peer>().copied();
    let trust_proxy = services.access.trust_proxy;
    let host = host(&request, trust_proxy);
    if let Some(peer) = peer
        && !trust_proxy
        && peer.local.ip().to_canonical().is_loopback()
        && !host.is_some_and(is_own_name)
    {
        return Err(ApiError::new(
            StatusCode::FORBIDDEN,
            "bad_host",
            format!("the host {:?} is not this machine's own", host.unwrap_or("")),
            "use http://127.0.0.1 or http://localhost; to serve other names listen on another address with TLS",
        ));
    }
    // What the browser speaks to us; a proxy's browsers may speak either.
    let scheme = peer.filter(|_| !trust_proxy).map(|peer| if peer.tls { "https" } else { "http" });
    for origin in request.headers().get_all(header::ORIGIN) {
        let same = origin.to_str().ok().and_then(|origin| origin.split_once("://")).is_some_and(|(spoken, named)| {
            scheme.is_none_or(|scheme| scheme == spoken) && host.is_some_and(|host| host.eq_ignore_ascii_case(named))
        });
        if !same {
            return Err(ApiError::new(
                StatusCode::FORBIDDEN,
                "bad_origin",
                "the request comes from a page of another origin",
                "call the interface from its own pages or from a program",
            ));
        }
    }
    Ok(next.run(request).await)
}

/// The host that the request is for.
fn host(request: &Request, trust_proxy: bool) -> Option<&str> {
    let text = |name: &str| request.headers().get(name).and_then(|value| value.to_str().ok());
    let forwarded = if trust_proxy { text("x-forwarded-host") } else { None };
    forwarded
        .or_else(|| text(header::HOST.as_str()))
        .or_else(|| request.uri().authority().map(|authority| authority.as_str()))
}

/// The address that the proxy in front saw: the last in the list, for those before it are the caller's own words.
pub(super) fn forwarded_for(headers: &HeaderMap) -> Option<IpAddr> {
    let last = headers.get_all("x-forwarded-for").into_iter().next_back()?.to_str().ok()?.rsplit(',').next()?.trim();
    let address = last.parse::<IpAddr>().ok().or_else(|| last.parse::<std::net::SocketAddr>().ok().map(|a| a.ip()));
    address.map(|ip| ip.to_canonical())
}

fn is_own_name(host: &str) -> bool {
    let name = match host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((name, _)) => name,
        None => host.rsplit_once(':').map_or(host, |(name, _)| name),
    };
    name.eq_ignore_ascii_case("localhost") || name.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn only_this_machines_own_names_pass_on_loopback() {
        for host in ["localhost", "localhost:8080", "127.0.0.1:8080", "[::1]:8080", "LOCALHOST:1"] {
            assert!(is_own_name(host), "{host}");
        }
        for host in
            ["evil.example", "evil.example:8080", "localhost.evil.example", "192.168.1.2:8080", "", "[fe80::1]:1"]
        {
            assert!(!is_own_name(host), "{host}");
        }
    }

    #[test]
    fn of_the_addresses_in_a_forwarded_header_only_the_proxys_own_word_counts() {
        let mut headers = HeaderMap::new();
        assert_eq!(forwarded_for(&headers), None);
        headers.append("x-forwarded-for", HeaderValue::from_static("10.9.9.9, 203.0.113.7"));
        assert_eq!(forwarded_for(&headers), Some("203.0.113.7".parse().unwrap()));
        headers.append("x-forwarded-for", HeaderValue::from_static("::ffff:198.51.100.4"));
        assert_eq!(forwarded_for(&headers), Some("198.51.100.4".parse().unwrap()));
        headers.append("x-forwarded-for", HeaderValue::from_static("unknown"));
        assert_eq!(forwarded_for(&headers), None);
    }
}
