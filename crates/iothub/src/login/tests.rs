use std::time::{SystemTime, UNIX_EPOCH};

use tokio::net::TcpListener;

use super::*;
use crate::clock::Clock;
use crate::test_server::{KEY, Reply, Seen, TestServer, service};

const STATISTICS: &str = r#"{"totalDeviceCount":42,"enabledDeviceCount":40,"disabledDeviceCount":2}"#;

/// A hub that allows what `rights` says.
async fn hub(read: bool, write: bool, more: bool) -> TestServer {
    TestServer::start(move |seen: &Seen| {
        let denied = || Reply::error(401, "IotHubUnauthorizedAccess");
        match seen.method.as_str() {
            "GET" if read => Reply::new(200, STATISTICS),
            "DELETE" if write => Reply::error(404, "DeviceNotFound"),
            "POST" if more => Reply::new(200, "[]"),
            _ => denied(),
        }
    })
    .await
}

async fn try_login(server: &TestServer) -> Result<LoginReport, LoginError> {
    login(&server.service(), &Endpoints::default(), &server.tls(), &Settings::default()).await
}

#[tokio::test]
async fn a_good_string_is_reported_and_nothing_is_left_in_the_hub() {
    let server = hub(true, true, false).await;
    let report = try_login(&server).await.unwrap();
    assert_eq!((report.hub.as_str(), report.policy.as_str()), ("localhost", "registryReadWrite"));
    assert_eq!(report.host_name, format!("localhost:{}", server.port));
    assert_eq!((report.can_read, report.can_write, report.identities, report.advice), (true, true, 42, None));
    let methods: Vec<_> = server.seen().into_iter().map(|seen| seen.method).collect();
    assert!(!methods.contains(&"PUT".to_owned()), "{methods:?}");
    assert!(server.seen()[1].path.starts_with("/devices/hubward-login-check-"));
}

#[tokio::test]
async fn who_watches_a_login_hears_of_each_stage_when_it_is_good_and_the_first_shows_no_key() {
    let wrong = TestServer::start(|_| Reply::error(401, "IotHubUnauthorized")).await;
    let gone = TestServer::start(|seen| match seen.header("authorization") {
        Some(_) => Reply::error(503, "ServiceUnavailable"),
        None => Reply::error(401, "IotHubUnauthorized"),
    })
    .await;
    let all = [Stage::Hub, Stage::Key];
    for (server, code, stages) in [
        (hub(true, true, false).await, None, &all[..]),
        (hub(true, false, false).await, Some("no_write"), &all[..]),
        (hub(false, false, false).await, Some("no_read"), &all[..]),
        (wrong, Some("wrong_key"), &all[..1]),
        (gone, Some("no_answer"), &all[..1]),
    ] {
        let client = RegistryClient::new(&server.service(), &Endpoints::default(), &server.tls(), &Settings::default());
        let heard = std::sync::Mutex::new(Vec::new());
        let told = |stage| heard.lock().unwrap().push(stage);
        let answer = login_in_stages(&client.unwrap(), &server.service(), told).await;
        assert_eq!(answer.err().map(|error| error.code()), code);
        assert_eq!(*heard.lock().unwrap(), stages, "{code:?}");
        assert!(server.seen()[0].header("authorization").is_none());
        assert!(server.seen()[1].header("authorization").is_some());
    }
    let nobody = service("localhost:1");
    let client =
        RegistryClient::new(&nobody, &Endpoints::default(), &hub(true, true, true).await.tls(), &Settings::default());
    let answer = login_in_stages(&client.unwrap(), &nobody, |stage| panic!("{stage:?}")).await;
    assert_eq!(answer.unwrap_err().code(), "no_answer");
}

#[tokio::test]
async fn more_rights_than_needed_are_accepted_with_advice() {
    let report = try_login(&hub(true, true, true).await).await.unwrap();
    assert!(report.advice.unwrap().contains("registryReadWrite"));
}

#[tokio::test]
async fn missing_rights_are_told_from_a_wrong_key() {
    for (server, code, field) in [
        (hub(false, false, true).await, "no_read", "SharedAccessKeyName"),
        (hub(true, false, true).await, "no_write", "SharedAccessKeyName"),
        (TestServer::start(|_| Reply::error(401, "IotHubUnauthorized")).await, "wrong_key", "SharedAccessKey"),
    ] {
        let error = try_login(&server).await.unwrap_err();
        assert_eq!((error.code(), error.field()), (code, field));
        assert!(!error.remedy().is_empty() && !format!("{error:?}").contains(KEY));
    }
}

#[tokio::test]
async fn what_the_hub_says_of_itself_has_its_own_code() {
    for (status, name, code) in [
        (403, "IotHubQuotaExceeded", "quota"),
        (429, "ThrottlingException", "throttled"),
        (400, "IotHubSuspended", "hub_disabled"),
        (503, "ServiceUnavailable", "no_answer"),
    ] {
        let server = TestServer::start(move |_| Reply::error(status, name)).await;
        assert_eq!(try_login(&server).await.unwrap_err().code(), code, "{name}");
    }
}

#[tokio::test]
async fn a_clock_off_by_over_five_minutes_is_blamed_before_the_key() {
    let server = TestServer::start(|seen| {
        let reply = match seen.method.as_str() {
            "DELETE" => Reply::error(404, "DeviceNotFound"),
            "POST" => Reply::error(401, "IotHubUnauthorized"),
            _ => Reply::error(401, "IotHubUnauthorized"),
        };
        reply.header("Date", "Sun, 22 Nov 2026 22:19:00 GMT")
    })
    .await;
    let real = 1_795_385_940;
    for (ours, code) in [
        (real - 301, "clock_skew"),
        (real + 301, "clock_skew"),
        (real + 3600, "clock_skew"),
        (real - 300, "wrong_key"),
        (real + 20, "wrong_key"),
    ] {
        let clock = Clock::from_fn(move || UNIX_EPOCH + Duration::from_secs(ours));
        let settings = Settings { clock, ..Settings::default() };
        let error = login(&server.service(), &Endpoints::default(), &server.tls(), &settings).await.unwrap_err();
        assert_eq!(error.code(), code, "{ours}");
        if code == "clock_skew" {
            assert!(error.message().contains(if ours > real { "ahead of" } else { "behind" }), "{error}");
        }
    }
}

#[tokio::test]
async fn a_clock_off_is_told_even_when_the_hub_lets_it_pass() {
    let server =
        TestServer::start(|_| Reply::new(200, STATISTICS).header("Date", "Sun, 22 Nov 2026 22:19:00 GMT")).await;
    let settings = Settings { clock: Clock::from_fn(|| SystemTime::UNIX_EPOCH), ..Settings::default() };
    let error = login(&server.service(), &Endpoints::default(), &server.tls(), &settings).await.unwrap_err();
    assert_eq!(error.code(), "clock_skew");
}

#[tokio::test]
async fn a_hub_whose_ca_is_not_known_is_not_trusted() {
    let server = hub(true, true, false).await;
    let tls = crate::tls::client_config(None).unwrap();
    let error = login(&server.service(), &Endpoints::default(), &tls, &Settings::default()).await.unwrap_err();
    assert_eq!((error.code(), error.field()), ("tls_not_trusted", "HostName"));
    assert!(error.remedy().contains("--hub-ca"));
    assert!(server.seen().is_empty(), "no token was shown to a stranger");
}

#[tokio::test]
async fn an_unknown_a_silent_and_a_closed_host_are_told_apart() {
    let tls = crate::tls::client_config(None).unwrap();
    let settings = Settings { connect_timeout: Duration::from_millis(300), ..Settings::default() };
    let try_at = async |host: &str| login(&service(host), &Endpoints::default(), &tls, &settings).await.unwrap_err();
    let error = try_at("no-such-hub.invalid").await;
    assert_eq!((error.code(), error.field()), ("unknown_host", "HostName"), "{error}");

    // Accepts connections and never says a word.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = silent.local_addr().unwrap().port();
    let error = try_at(&format!("localhost:{port}")).await;
    assert_eq!(error.code(), "no_answer");
    assert!(error.message().contains("gave no answer"), "{error}");

    drop(silent);
    let error = try_at(&format!("localhost:{port}")).await;
    assert_eq!(error.code(), "no_answer");
    assert!(error.message().contains("refused"), "{error}");
}

#[tokio::test]
async fn a_host_that_speaks_no_tls_is_named_so() {
    let plain = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = plain.local_addr().unwrap().port();
    let tls = crate::tls::client_config(None).unwrap();
    let settings = Settings::default();
    let at = service(&format!("localhost:{port}"));
    let answer = async {
        let (mut stream, _) = plain.accept().await.unwrap();
        tokio::io::AsyncWriteExt::write_all(&mut stream, b"HTTP/1.1 400 Bad Request\r\n\r\n").await.unwrap();
        stream
    };
    let endpoints = Endpoints::default();
    let (error, _stream) = tokio::join!(login(&at, &endpoints, &tls, &settings), answer);
    let error = error.unwrap_err();
    assert_eq!(error.code(), "no_answer");
    assert!(error.message().contains("does not speak TLS"), "{error}");
}
