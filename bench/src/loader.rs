//! The load: many devices, each one MQTT connection with a window of unacknowledged QoS 1 signals.
//!
//! Packets are written by hand from a template, so that the loader costs little of the two systems' processor time: it
//! reports its own, and a run in which it took most of the machine says nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail, ensure};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Barrier;
use tokio::task::JoinSet;

/// A device of the load.
#[derive(Debug, Clone)]
pub struct LoadDevice {
    /// MQTT user name.
    pub username: String,
    /// MQTT password.
    pub password: String,
    /// Where it publishes.
    pub topic: String,
}

/// What a load did.
#[derive(Debug, Clone, Copy, Default)]
pub struct Load {
    /// Signals sent and acknowledged.
    pub acknowledged: u64,
    /// From the first signal to the last acknowledgement.
    pub time: Duration,
    /// Half of the acknowledgements came within this time.
    pub p50: Duration,
    /// 99 % of the acknowledgements came within this time.
    pub p99: Duration,
}

/// Connects every device, and returns the open connections.
pub async fn connect(address: &str, devices: &[LoadDevice]) -> Result<Vec<TcpStream>> {
    let mut streams = Vec::with_capacity(devices.len());
    for device in devices {
        let mut stream = TcpStream::connect(address).await.with_context(|| format!("connect to {address}"))?;
        stream.set_nodelay(true).context("set TCP_NODELAY")?;
        stream.write_all(&connect_packet(device)).await.context("send CONNECT")?;
        let mut connack = [0u8; 4];
        stream.read_exact(&mut connack).await.context("read CONNACK")?;
        ensure!(connack == [0x20, 2, 0, 0], "CONNACK of {} is {connack:02x?}", device.username);
        streams.push(stream);
    }
    Ok(streams)
}

/// Keeps every connection's window full for `time`, then waits for what is open; gives the connections back.
pub async fn run(
    streams: Vec<TcpStream>,
    devices: &[LoadDevice],
    window: u16,
    size: usize,
    time: Duration,
) -> Result<(Load, Vec<TcpStream>)> {
    let stop = Arc::new(AtomicBool::new(false));
    let start = Arc::new(Barrier::new(streams.len() + 1));
    let mut tasks = JoinSet::new();
    for (place, (stream, device)) in streams.into_iter().zip(devices).enumerate() {
        let packet = publish_packet(&device.topic, size);
        let (stop, start) = (Arc::clone(&stop), Arc::clone(&start));
        tasks.spawn(async move {
            start.wait().await;
            drive(stream, packet, window, &stop).await.map(|(stream, count, times)| (place, stream, count, times))
        });
    }
    start.wait().await;
    let began = Instant::now();
    tokio::time::sleep(time).await;
    stop.store(true, Ordering::Relaxed);
    let (mut back, mut times, mut acknowledged) = (Vec::new(), Vec::new(), 0);
    while let Some(done) = tasks.join_next().await {
        let (place, stream, count, mut sampled) = done.context("a load task")??;
        back.push((place, stream));
        times.append(&mut sampled);
        acknowledged += count;
    }
    let time = began.elapsed();
    back.sort_by_key(|(place, _)| *place);
    times.sort_unstable();
    let at = |share: usize| times.get(times.len().saturating_sub(1) * share / 100).copied().unwrap_or_default();
    let load = Load { acknowledged, time, p50: at(50), p99: at(99) };
    Ok((load, back.into_iter().map(|(_, stream)| stream).collect()))
}

/// One device: keeps its window full until told to stop, then waits for what is open. Answers how many signals were
/// acknowledged, and how long each first one of a window took.
async fn drive(
    mut stream: TcpStream,
    mut packet: Packet,
    window: u16,
    stop: &AtomicBool,
) -> Result<(TcpStream, u64, Vec<Duration>)> {
    let mut free: Vec<u16> = (1..=window).rev().collect();
    let mut first_sent_at = Instant::now();
    let (mut output, mut input) = (Vec::new(), vec![0u8; 4 * usize::from(window)]);
    let (mut held, mut number, mut acknowledged) = (0, 0u64, 0u64);
    let mut times = Vec::new();
    loop {
        if !stop.load(Ordering::Relaxed) {
            output.clear();
            while let Some(id) = free.pop() {
                number += 1;
                packet.write(&mut output, id, number);
                if id == 1 {
                    first_sent_at = Instant::now();
                }
            }
            stream.write_all(&output).await.context("publish")?;
        } else if free.len() == usize::from(window) {
            return Ok((stream, acknowledged, times));
        }
        let read = stream.read(&mut input[held..]).await.context("read acknowledgements")?;
        if read == 0 {
            bail!("the broker closed the connection");
        }
        held += read;
        let whole = held / 4 * 4;
        for puback in input[..whole].chunks_exact(4) {
            ensure!(puback[..2] == [0x40, 2], "expected a PUBACK, got {puback:02x?}");
            let id = u16::from_be_bytes([puback[2], puback[3]]);
            if id == 1 {
                times.push(first_sent_at.elapsed());
            }
            free.push(id);
            acknowledged += 1;
        }
        input.copy_within(whole..held, 0);
        held -= whole;
    }
}

/// Every device sends one signal in each `every`, so many times, spread over that time; the payload begins with the time it was
/// sent. Gives the connections back. A device whose signals are not acknowledged in time waits for that no longer than for
/// its next turn, and its acknowledgements are read later.
pub async fn paced(
    streams: Vec<TcpStream>,
    devices: Vec<LoadDevice>,
    size: usize,
    every: Duration,
    times: usize,
) -> Result<Vec<TcpStream>> {
    let mut tasks = JoinSet::new();
    let begun = tokio::time::Instant::now();
    let share = every / u32::try_from(streams.len().max(1)).unwrap_or(u32::MAX);
    for (place, (mut stream, device)) in streams.into_iter().zip(devices).enumerate() {
        let mut packet = publish_packet(&device.topic, size);
        let first = begun + share * u32::try_from(place).unwrap_or(u32::MAX);
        tasks.spawn(async move {
            let (mut output, mut input) = (Vec::new(), [0u8; 256]);
            for turn in 0..times {
                let at = first + every * u32::try_from(turn).unwrap_or(u32::MAX);
                tokio::time::sleep_until(at).await;
                output.clear();
                packet.write(&mut output, u16::try_from(turn % 65_000).unwrap_or(0) + 1, now_micros());
                stream.write_all(&output).await.context("publish")?;
                let acknowledged = tokio::time::timeout_at(at + every, stream.read(&mut input)).await;
                if matches!(acknowledged, Ok(Ok(0))) {
                    bail!("the broker closed the connection of {}", device.username);
                }
            }
            Ok((place, stream))
        });
    }
    let mut back = Vec::new();
    while let Some(done) = tasks.join_next().await {
        back.push(done.context("a load task")??);
    }
    back.sort_by_key(|(place, _)| *place);
    Ok(back.into_iter().map(|(_, stream)| stream).collect())
}

/// Microseconds since 1970.
pub fn now_micros() -> u64 {
    micros_of(SystemTime::now())
}

/// The same of a time.
pub fn micros_of(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).ok().and_then(|since| u64::try_from(since.as_micros()).ok()).unwrap_or_default()
}

/// A PUBLISH with QoS 1 as a template: packet id and the first bytes of the payload change.
struct Packet {
    bytes: Vec<u8>,
    id_at: usize,
}

impl Packet {
    fn write(&mut self, output: &mut Vec<u8>, id: u16, number: u64) {
        self.bytes[self.id_at..self.id_at + 2].copy_from_slice(&id.to_be_bytes());
        let payload = self.id_at + 2;
        if self.bytes.len() >= payload + 8 {
            self.bytes[payload..payload + 8].copy_from_slice(&number.to_be_bytes());
        }
        output.extend_from_slice(&self.bytes);
    }
}

fn publish_packet(topic: &str, size: usize) -> Packet {
    let mut body = Vec::new();
    text(&mut body, topic);
    let id_at = body.len();
    body.extend_from_slice(&[0, 0]);
    body.extend(std::iter::repeat_n(b'x', size));
    let mut bytes = vec![0x32];
    remaining_length(&mut bytes, body.len());
    let header = bytes.len();
    bytes.extend_from_slice(&body);
    Packet { bytes, id_at: header + id_at }
}

fn connect_packet(device: &LoadDevice) -> Vec<u8> {
    let mut body = Vec::new();
    text(&mut body, "MQTT");
    // Level 4 (3.1.1), user name + password + clean session, no keep alive.
    body.extend_from_slice(&[4, 0xC2, 0, 0]);
    text(&mut body, &device.username);
    text(&mut body, &device.username);
    text(&mut body, &device.password);
    let mut packet = vec![0x10];
    remaining_length(&mut packet, body.len());
    packet.extend_from_slice(&body);
    packet
}

fn text(out: &mut Vec<u8>, text: &str) {
    let length = u16::try_from(text.len()).expect("topics and names of the load are short");
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(text.as_bytes());
}

fn remaining_length(out: &mut Vec<u8>, mut length: usize) {
    loop {
        let byte = u8::try_from(length % 128).expect("below 128");
        length /= 128;
        out.push(if length > 0 { byte | 0x80 } else { byte });
        if length == 0 {
            return;
        }
    }
}
