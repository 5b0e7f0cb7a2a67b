use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::ServerConfig;
use rustls::pki_types::PrivateKeyDer;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::*;

/// A listener on loopback with a certificate for `localhost`, and a target that trusts it.
async fn tls_hub() -> (TcpListener, TlsAcceptor, Target) {
    let CertifiedKey { cert, signing_key } = generate_simple_self_signed(["localhost".to_owned()]).expect("a name");
    let key = PrivateKeyDer::try_from(signing_key.serialize_der()).expect("a key");
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(vec![cert.der().clone()], key)
        .expect("a certificate");
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let tls = Arc::new(crate::tls::client_config(Some(&cert.pem())).expect("a CA"));
    let target = Target::new("localhost", (address.ip().to_string(), address.port()), tls);
    (listener, TlsAcceptor::from(Arc::new(config)), target)
}

#[tokio::test]
async fn a_hub_is_reached_over_tls() {
    let (listener, acceptor, target) = tls_hub().await;
    let accepting = async {
        let (stream, _) = listener.accept().await.expect("a client");
        FakeHub::start(acceptor.accept(stream).await.expect("TLS"), Script::default())
    };
    let (hub, opened) = soon(async { tokio::join!(accepting, Connection::open(&target)) }).await;
    let (connection, driver) = opened.expect("opened");
    let driver = tokio::spawn(driver.run());
    let a = soon(connection.attach(&device("a"))).await.expect("attached");
    let large = "x".repeat(200_000);
    soon(a.send(&[signal(&large)])).await.expect("accepted");
    assert_eq!(hub.seen().bodies("a"), [large]);
    soon(a.detach()).await.expect("confirmed");
    connection.close();
    assert_eq!(soon(driver).await.expect("no panic"), Closed::ByUs);
}

#[tokio::test]
async fn a_certificate_that_is_not_trusted_or_of_another_name_is_refused() {
    let (listener, acceptor, trusting) = tls_hub().await;
    let accepting = tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.expect("a client");
            let _ = acceptor.accept(stream).await;
        }
    });
    let stranger = Target { tls: target().tls, ..trusting.clone() };
    let other_name = Target { host_name: HOST.to_owned(), ..trusting };
    for target in [stranger, other_name] {
        let refused = soon(Connection::open(&target)).await.expect_err("not trusted");
        assert!(matches!(refused, OpenError::Tls { .. }), "{refused:?}");
    }
    accepting.abort();
}

#[tokio::test]
async fn a_closed_port_and_a_bad_name_are_told_apart() {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
    let port = listener.local_addr().expect("an address").port();
    drop(listener);
    let closed = Target { address: ("127.0.0.1".to_owned(), port), ..target() };
    let refused = soon(Connection::open(&closed)).await.expect_err("closed");
    assert!(matches!(refused, OpenError::Unreachable { .. }), "{refused:?}");
    let bad = Target { host_name: "no host".to_owned(), ..closed };
    assert_eq!(soon(Connection::open(&bad)).await.expect_err("bad"), OpenError::HostName("no host".to_owned()));
}

#[tokio::test]
async fn a_hub_that_says_nothing_is_given_up() {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let mut silent = Target { address: (address.ip().to_string(), address.port()), ..target() };
    silent.timeouts.open = Duration::from_millis(50);
    assert_eq!(soon(Connection::open(&silent)).await.expect_err("silent"), OpenError::Silent(0));
}

#[tokio::test]
async fn a_hub_that_refuses_the_connection_says_why() {
    let refuse = vec![("$cbs", error(condition::NOT_FOUND, "no such hub"))];
    let (ours, theirs) = duplex(64 * 1024);
    let _hub = FakeHub::start(theirs, Script { refuse, ..Script::default() });
    let refused = soon(Connection::open_on(Box::new(ours), &target())).await.expect_err("refused");
    let OpenError::Ended(Closed::ByHub(Some(why))) = refused else { panic!("{refused:?}") };
    assert_eq!(why.description, "no such hub");
}
