//! What a closed connection means, at the local hub and at one that always hangs up.

use hubward_iothub::connection_string::{ServiceString, SharedAccessKey};
use hubward_iothub::endpoints::Endpoints;
use hubward_iothub::registry::{NewDevice, RegistryClient, Settings};
use hubward_iothub::tls;
use hubward_local_hub::{LocalHub, Options};
use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::pki_types::PrivateKeyDer;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use super::super::presence::Presence;
use super::*;
use crate::backoff::Backoff;

const PATIENCE: Duration = Duration::from_secs(60);

/// A hub, a device of it, and where the two protocols are reached.
struct World {
    hub: LocalHub,
    identity: Identity,
    mqtt: Target,
    https: Target,
    _folder: TempDir,
}

impl World {
    async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let hub = LocalHub::start(Options::new(folder.path().join("hub"))).await.unwrap();
        let info = hub.info().clone();
        let config = tls::client_config(Some(&std::fs::read_to_string(&info.ca_file).unwrap())).unwrap();
        let service: ServiceString = info.connection_strings.iothubowner.parse().unwrap();
        let registry = RegistryClient::new(&service, &Endpoints::default(), &config, &Settings::default()).unwrap();
        let (primary, secondary) = (SharedAccessKey::random(), SharedAccessKey::random());
        let device = NewDevice { id: "d".to_owned(), primary: primary.clone(), secondary, enabled: true };
        registry.create(&device).await.unwrap();
        let target = |address: &str| {
            let port = address.rsplit_once(':').unwrap().1.parse().unwrap();
            Target::new("localhost", ("localhost".to_owned(), port), Arc::new(config.clone()))
        };
        let (mqtt, https) = (target(info.mqtts.as_deref().unwrap()), target(&info.https));
        Self { hub, identity: Identity::new("d", primary), mqtt, https, _folder: folder }
    }
}

/// A way up, and what runs its tasks.
fn direct(mqtt: Target, https: Target) -> (Direct, JoinSet<()>) {
    let backoff = Backoff::new(Duration::from_millis(1), Duration::from_millis(10));
    let gate = Gate::new("hub".to_owned(), Arc::new(Presence::new()), backoff);
    let (tx, mut rx) = mpsc::unbounded_channel::<Task>();
    let mut running = JoinSet::new();
    running.spawn(async move {
        let mut tasks = JoinSet::new();
        while let Some(task) = rx.recv().await {
            tasks.spawn(task);
        }
    });
    (Direct::new(mqtt, https, gate, tx), running)
}

async fn soon<T>(what: impl Future<Output = T>) -> T {
    timeout(PATIENCE, what).await.expect("in time")
}

#[tokio::test]
async fn a_device_that_is_thrown_out_again_and_again_is_not_alone_with_its_identity() {
    let world = World::start().await;
    let (direct, _running) = direct(world.mqtt.clone(), world.https.clone());
    for round in 1..=OFTEN {
        let link = soon(async { direct.place().await.link(world.identity.clone()).await }).await.unwrap();
        assert_eq!(direct.connections(), 1);
        let (_other, driver) = soon(mqtt::connect(&world.mqtt, &world.identity)).await.unwrap();
        let lost = soon(async {
            tokio::select! {
                lost = link.lost() => lost,
                _ = driver.run() => panic!("the newer connection lives"),
            }
        })
        .await;
        match lost {
            NotTaken::ConnectionLost(_) => assert!(round < OFTEN),
            NotTaken::LinkLost(refusal) => assert_eq!((round, refusal.condition.as_str()), (OFTEN, CLOSED_AGAIN)),
            other => panic!("{other:?}"),
        }
    }
    world.hub.stop().await;
}

#[tokio::test]
async fn a_message_that_ends_connections_goes_over_https_where_the_hub_can_answer() {
    let world = World::start().await;
    let (hangs_up, _task) = one_that_hangs_up().await;
    let (direct, _running) = direct(hangs_up, world.https.clone());
    let message = |id: &str| D2cMessage { body: "x".into(), message_id: id.to_owned(), ..D2cMessage::default() };
    for round in 1..=OFTEN {
        let link = soon(async { direct.place().await.link(world.identity.clone()).await }).await.unwrap();
        let failure = soon(link.send(&[message("first"), message("second")])).await.unwrap_err();
        assert!(matches!(failure.why, NotTaken::ConnectionLost(_)), "{failure:?}");
        assert_eq!(failure.accepted, usize::from(round == OFTEN));
    }
    let arrived = world.hub.events().await.unwrap();
    assert_eq!(arrived.iter().map(|event| event.message_id.as_deref()).collect::<Vec<_>>(), [Some("first")]);

    // One that the hub does not take is refused in its own words.
    let stranger = Identity::new("nobody", SharedAccessKey::random());
    for round in 1..=OFTEN {
        let link = soon(async { direct.place().await.link(stranger.clone()).await }).await.unwrap();
        match soon(link.send(&[message("lost")])).await.unwrap_err().why {
            NotTaken::ConnectionLost(_) => assert!(round < OFTEN),
            NotTaken::LinkLost(refusal) => assert_eq!((round, refusal.condition.as_str()), (OFTEN, "http:401")),
            other => panic!("{other:?}"),
        }
    }
    world.hub.stop().await;
}

/// Takes CONNECT, and closes at whatever comes next.
async fn one_that_hangs_up() -> (Target, JoinSet<()>) {
    let CertifiedKey { cert, signing_key } = generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let key = PrivateKeyDer::try_from(signing_key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![cert.der().clone()], key)
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = ("localhost".to_owned(), listener.local_addr().unwrap().port());
    let mut task = JoinSet::new();
    task.spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let Ok(mut stream) = acceptor.accept(stream).await else { continue };
            let mut bytes = [0; 4096];
            let _connect = stream.read(&mut bytes).await;
            let _connack = stream.write_all(&[0x20, 2, 0, 0]).await;
            let _publish = stream.read(&mut bytes).await;
            let _end = stream.shutdown().await;
        }
    });
    let tls = Arc::new(tls::client_config(Some(&cert.pem())).unwrap());
    (Target::new("localhost", address, tls), task)
}
