//! Thousands of devices that speak to a hub directly, many on each AMQP connection, without a server of ours between.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use hubward_iothub::amqp::{Closed, Connection, Identity, Sender, Target};
use hubward_iothub::connection_string::{EventHubsString, ServiceString, SharedAccessKey};
use hubward_iothub::endpoints::Endpoints;
use hubward_iothub::message::D2cMessage;
use hubward_iothub::reader::{Options, Reader, Start};
use hubward_iothub::registry::{NewDevice, RegistryClient, Settings};
use hubward_iothub::tls;
use tokio::task::JoinSet;

use crate::hub::Hub;
use crate::process::PATIENCE;

/// Identities on one connection.
const ON_ONE: usize = 900;
/// Attaches that are under way at once.
const AT_ONCE: usize = 200;

/// Devices of a hub.
pub struct HubFleet {
    identities: Vec<Identity>,
    target: Target,
}

impl HubFleet {
    /// Makes `count` identities in bulk; their ids are `d0`, `d1`, ….
    pub async fn make(hub: &Hub, count: usize) -> Result<Self> {
        let ca = std::fs::read_to_string(hub.ca_file()).context("read the hub's CA")?;
        let config = tls::client_config(Some(&ca)).context("trust it")?;
        let owner: ServiceString = hub.connection_string("iothubowner").parse().context("the owner's string")?;
        let registry = RegistryClient::new(&owner, &Endpoints::default(), &config, &Settings::default())?;
        let mut identities = Vec::with_capacity(count);
        let numbers: Vec<usize> = (0..count).collect();
        for chunk in numbers.chunks(100) {
            let device = |number: &usize| NewDevice {
                id: format!("d{number}"),
                primary: SharedAccessKey::random(),
                secondary: SharedAccessKey::random(),
                enabled: true,
            };
            let devices: Vec<NewDevice> = chunk.iter().map(device).collect();
            let errors = registry.bulk_create(&devices).await?;
            ensure!(errors.is_empty(), "not all were made: {:?}", errors.first());
            identities.extend(devices.into_iter().map(|device| Identity::new(&device.id, device.primary)));
        }
        let amqps = hub.info()["amqps"].as_str().context("the hub has an AMQP port")?;
        let (_, port) = amqps.rsplit_once(':').context("an address has a port")?;
        let address = ("localhost".to_owned(), port.parse()?);
        Ok(Self { identities, target: Target::new("localhost", address, Arc::new(config)) })
    }

    /// Connects them all.
    pub async fn connect(&self) -> Result<Connected> {
        let mut connected = Connected { senders: Vec::new(), drivers: JoinSet::new() };
        for identities in self.identities.chunks(ON_ONE) {
            let (connection, driver) = Connection::open(&self.target).await?;
            connected.drivers.spawn(driver.run());
            for some in identities.chunks(AT_ONCE) {
                let mut attaching = JoinSet::new();
                for (index, identity) in some.iter().enumerate() {
                    let (connection, identity) = (connection.clone(), identity.clone());
                    attaching.spawn(async move { (index, connection.attach(&identity).await) });
                }
                let mut attached = attaching.join_all().await;
                attached.sort_by_key(|(index, _)| *index);
                for (_, sender) in attached {
                    connected.senders.push(Arc::new(sender?));
                }
            }
        }
        Ok(connected)
    }
}

/// Connected devices: `senders[n]` is that of `d{n}`.
pub struct Connected {
    /// One for each device.
    pub senders: Vec<Arc<Sender>>,
    /// What moves the bytes; aborted when this is dropped.
    pub drivers: JoinSet<Closed>,
}

/// Message `number` of device `device`, about as long as a small signal.
#[must_use]
pub fn message(device: usize, number: u32) -> D2cMessage {
    D2cMessage {
        body: format!(r#"{{"device":{device},"number":{number},"temperature":21.5}}"#).into(),
        message_id: format!("{device}-{number}"),
        content_type: Some("application/json".to_owned()),
        content_encoding: Some("utf-8".to_owned()),
        ..D2cMessage::default()
    }
}

/// What a hub gives a reader from the start: how often each message of [`message`] came.
#[derive(Debug, Default)]
pub struct Readable {
    seen: HashMap<(usize, u32), u32>,
}

impl Readable {
    /// Reads until every one of `accepted` (device, number) came; an error names one that does not come.
    pub async fn of(hub: &Hub, accepted: &[(usize, u32)]) -> Result<Self> {
        let ca = std::fs::read_to_string(hub.ca_file()).context("read the hub's CA")?;
        let config = Arc::new(tls::client_config(Some(&ca)).context("trust it")?);
        let string: EventHubsString = hub.connection_string("eventhubs").parse().context("the readers' string")?;
        let options = Options { start: Start::Earliest, ..Options::default() };
        let mut reader = Reader::open(&string, &config, &options).await?;
        let mut readable = Self::default();
        let mut missing = accepted.iter().copied().collect::<std::collections::HashSet<_>>();
        while !missing.is_empty() {
            let next = tokio::time::timeout(PATIENCE, reader.next()).await;
            let Ok(event) = next else {
                let one = missing.iter().next();
                anyhow::bail!("{} accepted messages do not come, for example {one:?}", missing.len());
            };
            let event = event?;
            let id = event.message_id().context("each has a message-id")?;
            let (device, number) = id.split_once('-').context("of ours")?;
            let key = (device.parse()?, number.parse()?);
            missing.remove(&key);
            *readable.seen.entry(key).or_default() += 1;
        }
        reader.close().await;
        Ok(readable)
    }

    /// How often this one came.
    #[must_use]
    pub fn count(&self, device: usize, number: u32) -> u32 {
        self.seen.get(&(device, number)).copied().unwrap_or_default()
    }
}

/// Resident memory of a process in bytes (Linux), after the allocator has had `settle` to give back what it holds.
pub async fn resident_memory(process: u32, settle: Duration) -> Result<u64> {
    tokio::time::sleep(settle).await;
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).context("read the process's status")?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).context("it names its memory")?;
    let kilobytes: u64 = line.split_whitespace().nth(1).context("a figure")?.parse()?;
    Ok(kilobytes * 1024)
}

/// The same once it is at most `bound`, or when it did not come down to that for long: how soon an allocator gives memory
/// back is not the process's to say.
pub async fn memory_comes_to(process: u32, bound: u64) -> Result<u64> {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    loop {
        let memory = resident_memory(process, Duration::from_millis(100)).await?;
        if memory <= bound || tokio::time::Instant::now() > deadline {
            return Ok(memory);
        }
    }
}
