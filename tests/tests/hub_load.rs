//! The local hub under load and under abuse: its memory stays where it was, and what it accepted is there.
//!
//! `HUBWARD_HUB_LOAD_SECONDS=3600` makes the load last an hour (`make soak`); in `make test` it lasts ten seconds.

#![allow(clippy::unwrap_used, reason = "a test may fail at any step")]

use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context, Result};
use hubward_iothub::amqp::Sender;
use hubward_tests::hub_fleet::{Connected, HubFleet, Readable, memory_comes_to, message, resident_memory};
use hubward_tests::{Hub, process::PATIENCE};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, timeout};

/// What a hub may hold more after its load than after the warm-up.
const GROWTH: u64 = 16 * 1024 * 1024;
/// An allocator gives memory back some time after it is free.
const SETTLE: Duration = Duration::from_secs(2);

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_devices_and_a_thousand_messages_a_second_leave_the_hub_as_small_as_it_was() {
    const DEVICES: usize = 10_000;
    const A_SECOND: usize = 1_000;
    let seconds = std::env::var("HUBWARD_HUB_LOAD_SECONDS").map_or(10, |text| text.parse().unwrap());
    let mut hub = Hub::start().await.unwrap();
    let fleet = HubFleet::make(&hub, DEVICES).await.unwrap();
    let connected = fleet.connect().await.unwrap();
    // Warm: every device has sent, so that everything that is held for a device is held.
    let mut accepted = Vec::new();
    for number in 0..DEVICES / A_SECOND {
        accepted.extend(send_some(&connected, number * A_SECOND, A_SECOND, 0).await.unwrap());
    }
    let process = hub.process_id().unwrap();
    let warm = resident_memory(process, SETTLE).await.unwrap();
    // A tenth of a second's messages at a time. A machine that cannot keep up takes longer; nothing is left out.
    let mut pace = interval(Duration::from_millis(100));
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let share = A_SECOND / 10;
    for step in 0..seconds * 10 {
        pace.tick().await;
        let first = step * share % DEVICES;
        let round = u32::try_from(1 + step * share / DEVICES).unwrap();
        accepted.extend(send_some(&connected, first, share, round).await.unwrap());
    }
    let after = memory_comes_to(process, warm + GROWTH).await.unwrap();
    assert!(after <= warm + GROWTH, "{} MB after the warm-up, {} MB after the load", warm >> 20, after >> 20);
    assert_eq!(accepted.len(), DEVICES + seconds * A_SECOND);
    let readable = Readable::of(&hub, &accepted).await.unwrap();
    assert!(accepted.iter().all(|&(device, number)| readable.count(device, number) == 1), "each is there once");
    drop(connected);
    hub.stop().await.unwrap();
}

/// Lets `count` devices from `first` on send message `number` each, and gives what was accepted: all of it.
async fn send_some(connected: &Connected, first: usize, count: usize, number: u32) -> Result<Vec<(usize, u32)>> {
    let mut sending = JoinSet::new();
    for device in first..first + count {
        let sender = connected.senders[device].clone();
        sending.spawn(async move { sender.send(&[message(device, number)]).await.map(|()| (device, number)) });
    }
    let mut accepted = Vec::with_capacity(count);
    while let Some(sent) = sending.join_next().await {
        accepted.push(sent??);
    }
    Ok(accepted)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_hub_accepted_is_readable_after_it_was_killed_under_load() {
    const DEVICES: usize = 200;
    let mut hub = Hub::start().await.unwrap();
    let fleet = HubFleet::make(&hub, DEVICES).await.unwrap();
    let accepted: Arc<Mutex<Vec<(usize, u32)>>> = Arc::default();
    for round in 0..3 {
        let connected = fleet.connect().await.unwrap();
        let mut sending = JoinSet::new();
        for (device, sender) in connected.senders.iter().enumerate() {
            sending.spawn(send_until_lost(sender.clone(), device, round * 1_000_000, accepted.clone()));
        }
        let enough = accepted.lock().unwrap().len() + 2_000;
        let busy = async {
            while accepted.lock().unwrap().len() < enough {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(PATIENCE, busy).await.expect("the hub takes 2,000 messages");
        hub.kill().unwrap();
        timeout(PATIENCE, sending.join_all()).await.expect("every sender notices");
        hub.start_again().await.unwrap();
    }
    let accepted = accepted.lock().unwrap().clone();
    let readable = Readable::of(&hub, &accepted).await.unwrap();
    assert!(accepted.iter().all(|&(device, number)| readable.count(device, number) == 1), "each is there once");
    hub.stop().await.unwrap();
}

/// Sends one message after the other and notes those that the hub accepted, until the connection is lost.
async fn send_until_lost(sender: Arc<Sender>, device: usize, from: u32, accepted: Arc<Mutex<Vec<(usize, u32)>>>) {
    for number in from.. {
        if sender.send(&[message(device, number)]).await.is_err() {
            return;
        }
        accepted.lock().unwrap().push((device, number));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_idle_connections_neither_stop_the_hub_nor_stay_in_its_memory() {
    let mut hub = Hub::start().await.unwrap();
    let fleet = HubFleet::make(&hub, 1).await.unwrap();
    // Each is an open file here and one in the hub, which inherits our limit.
    let mut count = 10_000.min(open_files().unwrap().saturating_sub(500));
    let process = hub.process_id().unwrap();
    let mut memory = Vec::new();
    while memory.len() < 4 {
        let mut idle = Vec::with_capacity(count);
        for _ in 0..count {
            idle.push(connect(&hub, "amqps").await.unwrap());
        }
        // All of them were taken before this one, which is served.
        let connected = fleet.connect().await.unwrap();
        send_some(&connected, 0, 1, u32::try_from(memory.len()).unwrap()).await.unwrap();
        memory.push(resident_memory(process, Duration::ZERO).await.unwrap());
        if files_of(process) < count {
            // The hub bears a silent client for 20 seconds: this machine makes fewer in that time. Rounds of one size only
            // can be compared.
            (count, memory) = (count / 2, Vec::new());
            assert!(count >= 100, "the hub does not keep silent connections");
        }
        drop((idle, connected));
        // The next ones come when these are gone: both together may be more than the hub may have open.
        let gone = async {
            while files_of(process) > 400 {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        timeout(PATIENCE, gone).await.expect("the hub lets go of connections that are gone");
    }
    let in_mb: Vec<u64> = memory.iter().map(|bytes| bytes >> 20).collect();
    // How high they pile up depends on how many were being greeted at once; what is kept for those that are gone would
    // show in every later round.
    let (first, later) = (memory[0].max(memory[1]), memory[2].min(memory[3]));
    assert!(later <= first + GROWTH, "memory while {count} were there, in MB: {in_mb:?}");
    hub.stop().await.unwrap();
}

/// How many files a process has open (Linux).
fn files_of(process: u32) -> usize {
    std::fs::read_dir(format!("/proc/{process}/fd")).unwrap().count()
}

#[tokio::test(flavor = "multi_thread")]
async fn malformed_oversized_slow_and_half_open_connections_are_named_in_the_log_and_harm_nobody() {
    let mut hub = Hub::start_with(&["--log", "info"]).await.unwrap();
    let fleet = HubFleet::make(&hub, 1).await.unwrap();
    let connected = fleet.connect().await.unwrap();
    send_some(&connected, 0, 1, 0).await.unwrap();
    let process = hub.process_id().unwrap();
    abuse(&hub, 20).await.unwrap();
    let warm = resident_memory(process, SETTLE).await.unwrap();
    abuse(&hub, 200).await.unwrap();
    // Slow and half open ones stay for as long as the hub bears them; the device goes on meanwhile.
    let mut staying = Vec::new();
    for listener in listeners(&hub) {
        for _ in 0..50 {
            let mut slow = connect(&hub, listener).await.unwrap();
            slow.write_all(&[0x16]).await.unwrap();
            staying.push(slow);
            let mut half = connect(&hub, listener).await.unwrap();
            half.shutdown().await.unwrap();
            staying.push(half);
        }
    }
    for number in 1..50 {
        send_some(&connected, 0, 1, number).await.unwrap();
    }
    drop(staying);
    let after = memory_comes_to(process, warm + GROWTH).await.unwrap();
    assert!(after <= warm + GROWTH, "{} MB before, {} MB after", warm >> 20, after >> 20);
    let log = hub.log_text();
    for listener in listeners(&hub) {
        let named = |line: &&str| line.contains(&format!("{listener}: ")) && line.contains("peer=127.0.0.1:");
        assert!(log.lines().any(|line| named(&line)), "no line names what came to {listener}:\n{}", end_of(&log));
    }
    assert!(!log.contains("panicked"), "{}", end_of(&log));
    drop(connected);
    hub.stop().await.unwrap();
}

fn end_of(log: &str) -> String {
    let lines: Vec<&str> = log.lines().collect();
    lines[lines.len().saturating_sub(20)..].join("\n")
}

/// Sends every listener, `times` times, what no client sends, and waits each time until the hub has had enough of it.
async fn abuse(hub: &Hub, times: usize) -> Result<()> {
    let header = b"AMQP\x00\x01\x00\x00";
    // An AMQP frame that says it is 4 GiB long; one with a data offset beyond its end; a performative of nothing.
    let oversized = [header.as_slice(), &[0xff, 0xff, 0xff, 0xff, 2, 0, 0, 0]].concat();
    let offset = [header.as_slice(), &[0, 0, 0, 8, 200, 0, 0, 0]].concat();
    let nothing = [header.as_slice(), &[0, 0, 0, 12, 2, 0, 0, 0, 0, 0x53, 0x10, 0x45]].concat();
    let plain: [&[u8]; 5] = [b"GET / HTTP/1.1\r\n\r\n", &[0xff; 4096], &oversized, &offset, &nothing];
    let ahead_of_tls: [&[u8]; 3] =
        [b"GET / HTTP/1.1\r\n\r\n", &[0; 4096], &[0x16, 3, 1, 0xff, 0xff, 1, 0xff, 0xff, 0xff]];
    for _ in 0..times {
        for bytes in plain {
            provoke(hub, "amqp", bytes).await?;
        }
        for listener in listeners(hub).into_iter().filter(|listener| *listener != "amqp") {
            for bytes in ahead_of_tls {
                provoke(hub, listener, bytes).await?;
            }
        }
    }
    Ok(())
}

/// The listeners that anybody may come to.
fn listeners(hub: &Hub) -> Vec<&'static str> {
    ["https", "amqps", "amqp", "mqtts"].into_iter().filter(|listener| hub.info()[*listener].is_string()).collect()
}

/// Sends bytes, says that there are no more, and reads until the hub closes.
async fn provoke(hub: &Hub, listener: &str, bytes: &[u8]) -> Result<()> {
    let mut stream = connect(hub, listener).await?;
    // It may be closed before all was written.
    let _ = stream.write_all(bytes).await;
    let _ = stream.shutdown().await;
    let mut answer = Vec::new();
    let _ = timeout(PATIENCE, stream.read_to_end(&mut answer)).await.context("the hub does not close")?;
    Ok(())
}

async fn connect(hub: &Hub, listener: &str) -> Result<TcpStream> {
    let address = hub.info()[listener].as_str().with_context(|| format!("the hub has {listener}"))?;
    Ok(TcpStream::connect(address).await?)
}

/// How many files this process may have open (Linux).
fn open_files() -> Result<usize> {
    let limits = std::fs::read_to_string("/proc/self/limits").context("read the limits")?;
    let line = limits.lines().find(|line| line.starts_with("Max open files")).context("open files are limited")?;
    Ok(line.split_whitespace().nth(3).context("a soft limit")?.parse().unwrap_or(usize::MAX))
}
