use axum::body::to_bytes;

use super::*;

static BUILT: &[File] = &[
    File { path: "assets/a-1.js", mime: "text/javascript", raw: b"raw", gzip: Some(b"packed") },
    File { path: "icon.svg", mime: "image/svg+xml", raw: b"<svg/>", gzip: None },
    File { path: "index.html", mime: "text/html", raw: b"<meta content=\"__CSP_NONCE__\">", gzip: None },
];

fn get(files: &[File], path: &str, headers: &[(header::HeaderName, &str)]) -> Response {
    let headers = headers.iter().map(|(name, value)| (name.clone(), value.parse().unwrap())).collect();
    answer(files, &Method::GET, path, &headers)
}

async fn text(response: Response) -> String {
    String::from_utf8(to_bytes(response.into_body(), usize::MAX).await.unwrap().to_vec()).unwrap()
}

#[tokio::test]
async fn each_page_has_a_nonce_of_its_own_in_itself_and_in_its_policy() {
    let mut seen = Vec::new();
    for path in ["/", "/devices/d_1/live", "/index.html"] {
        let response = get(BUILT, path, &[]);
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(response.headers()[header::CACHE_CONTROL], "no-store");
        let policy = response.headers()[header::CONTENT_SECURITY_POLICY].to_str().unwrap().to_owned();
        let nonce = policy.split("'nonce-").nth(1).unwrap().split('\'').next().unwrap().to_owned();
        assert!(nonce.len() >= 22 && !policy.contains("unsafe"), "{policy}");
        assert_eq!(text(response).await, format!("<meta content=\"{nonce}\">"));
        assert!(!seen.contains(&nonce));
        seen.push(nonce);
    }
}

#[tokio::test]
async fn hashed_files_are_kept_and_come_packed_to_who_can_unpack() {
    let response = get(BUILT, "/assets/a-1.js", &[(header::ACCEPT_ENCODING, "br, gzip")]);
    assert_eq!(response.headers()[header::CONTENT_ENCODING], "gzip");
    assert!(response.headers()[header::CACHE_CONTROL].to_str().unwrap().contains("immutable"));
    assert_eq!(text(response).await, "packed");
    for accepted in ["identity", "gzip;q=0", "br"] {
        let response = get(BUILT, "/assets/a-1.js", &[(header::ACCEPT_ENCODING, accepted)]);
        assert!(!response.headers().contains_key(header::CONTENT_ENCODING), "{accepted}");
        assert_eq!(text(response).await, "raw");
    }
    assert_eq!(get(BUILT, "/icon.svg", &[]).headers()[header::CACHE_CONTROL], "no-cache");
}

#[tokio::test]
async fn unknown_assets_and_addresses_of_the_api_are_404_not_the_page() {
    for path in ["/assets/old.js", "/api", "/api/v1/nothing"] {
        let response = get(BUILT, path, &[]);
        assert_eq!(response.status(), StatusCode::NOT_FOUND, "{path}");
        assert!(text(response).await.contains("no_such_page"));
    }
    let posted = answer(BUILT, &Method::POST, "/devices", &HeaderMap::new());
    assert_eq!(posted.status(), StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn without_the_console_the_page_says_how_to_add_it() {
    let response = get(&[], "/", &[]);
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(text(response).await.contains("make console"));
}
