//! How fast a relay drains a backlog into a local hub, all in one process.
//!
//! `cargo run --release -p hubward-relay --example throughput -- [LANES] [SIGNALS] [BYTES]`

use std::sync::Arc;
use std::time::{Duration, Instant};

use hubward_iothub::connection_string::HostName;
use hubward_iothub::endpoints::HostPolicy;
use hubward_journal::{Journal, RealFiles, Waiter};
use hubward_local_hub::LocalHub;
use hubward_model::{DeviceId, DeviceKind, Draft, Kind, Message, Timestamp};
use hubward_registry::{KeySource, NewDevice, Registry, SecretString};
use hubward_relay::provision::{Access, Bind, Create};
use hubward_relay::{Options, Relay};

type AnyError = Box<dyn std::error::Error>;

fn main() -> Result<(), AnyError> {
    let mut numbers = std::env::args().skip(1).map(|text| text.parse::<usize>());
    let mut number = |default| numbers.next().unwrap_or(Ok(default));
    let (lanes, signals, bytes) = (number(1000)?, number(400_000)?, number(200)?);
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(measure(lanes, signals, bytes))
}

async fn measure(lanes: usize, signals: usize, bytes: usize) -> Result<(), AnyError> {
    let folder = tempfile::tempdir()?;
    let hub = LocalHub::start(hubward_local_hub::Options::new(folder.path().join("hub"))).await?;
    let keys = KeySource { text: None, file: folder.path().join("data.key") };
    let registry = Registry::open(&folder.path().join("data").join("registry.db"), keys).await?;
    let mut options = hubward_journal::Options::new(folder.path().join("data").join("journal"));
    options.queue_bytes = 1 << 30;
    let (journal, committer) = Journal::open(options, Arc::new(RealFiles))?;
    let committer = std::thread::spawn(move || committer.run());
    let new: Result<Vec<_>, _> =
        (0..lanes).map(|n| Ok::<_, AnyError>(NewDevice::new(format!("d{n}").parse()?, DeviceKind::Mqtt))).collect();
    let devices: Vec<DeviceId> = registry.add_devices(new?).await?.into_iter().map(|device| device.value.id).collect();
    let hosts = HostPolicy::new(vec!["localhost".parse::<HostName>()?]);
    let relay = Relay::start(Options { hosts, ..Options::default() }, registry.clone(), journal.clone()).await?;

    let info = hub.info();
    let string = SecretString::from(info.connection_strings.registry_read_write.clone());
    let mut create = Create::new("azure", string, "Temp");
    create.access = Access {
        hub_ca: Some(std::fs::read_to_string(&info.ca_file)?),
        hub_endpoint: Some(format!("amqps={}", info.amqps.replace("127.0.0.1", "localhost"))),
        ..create.access
    };
    create.devices = devices.iter().map(|device| Bind { device: device.to_string(), hub_device_id: None }).collect();
    let began = Instant::now();
    let integration = relay.handle().provisioner().create(create).await?;
    loop {
        let status = relay.handle().status(&integration.id).await?;
        if status.hub.attached == lanes {
            println!(
                "{lanes} lanes made and attached in {:?}, {} connections",
                began.elapsed(),
                status.hub.connections
            );
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    relay.handle().pause(&integration.id).await?;
    append(&journal, &devices, signals, bytes).await?;
    let before = Instant::now();
    relay.handle().resume(&integration.id).await?;
    loop {
        let status = relay.handle().status(&integration.id).await?;
        if status.hub.attached == lanes {
            println!("attached again in {:?}", before.elapsed());
            break;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let left = relay.handle().drain(&integration.id, None, Duration::from_secs(300)).await?;
    let took = before.elapsed().as_secs_f64();
    let rate = f64::from(u32::try_from(signals)?) / took;
    println!("{signals} signals of {bytes} B: {took:.2} s, {rate:.0} a second, {} lanes left", left.len());
    println!(
        "{}",
        std::fs::read_to_string("/proc/self/status")?.lines().find(|l| l.starts_with("VmHWM")).unwrap_or("")
    );
    relay.stop().await;
    journal.close();
    drop(committer.join());
    registry.close().await;
    hub.stop().await;
    Ok(())
}

async fn append(journal: &Journal, devices: &[DeviceId], signals: usize, bytes: usize) -> Result<(), AnyError> {
    let waiter = Waiter::new();
    let mut last = journal.durable();
    let payload = bytes::Bytes::from(vec![0x55; bytes]);
    for n in 0..signals {
        let device = &devices[n % devices.len()];
        let message =
            Message { topic: format!("devices/{device}/signals/x"), payload: payload.clone(), ..Message::default() };
        let draft = Draft {
            kind: Kind::Signal,
            received_at: Timestamp::now(),
            device: Some(device.clone()),
            only_for: None,
            message,
            note: bytes::Bytes::new(),
        };
        while !journal.has_room() {
            journal.room().await;
        }
        last = journal.append(draft, &waiter)?;
    }
    while waiter.progress().durable <= last {
        waiter.changed().await;
    }
    Ok(())
}
