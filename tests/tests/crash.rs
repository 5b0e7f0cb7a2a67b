//! Whatever is killed, an acknowledged signal reaches the hub.

#![allow(clippy::unwrap_used, reason = "a test may fail at any step")]

use bytes::Bytes;
use hubward_tests::{Device, World};

/// The number of the signal after which a device sends no more.
const LAST: usize = 999_999;

fn signal(device: usize, number: usize) -> Bytes {
    Bytes::from(format!("device {device} signal {number:06}"))
}

/// Streams from each device until the server dies under it; answers how many signals each had acknowledged.
async fn stream_until_cut(world: &World, devices: &[hubward_tests::Credentials], first: &[usize]) -> Vec<usize> {
    let mut tasks = tokio::task::JoinSet::new();
    for (place, device) in devices.iter().enumerate() {
        let mut connected =
            Device::connect(world.server.mqtt(), &device.id, &device.password).await.expect("the device connects");
        let start = first[place];
        tasks.spawn(async move { (place, connected.stream((start..).map(|n| signal(place, n))).await) });
    }
    let mut acknowledged = vec![0; devices.len()];
    while let Some(done) = tasks.join_next().await {
        let (place, count) = done.expect("a device's task");
        acknowledged[place] = count;
    }
    acknowledged
}

#[tokio::test(flavor = "multi_thread")]
async fn after_kill_9_every_acknowledged_signal_reaches_the_hub_in_order_with_its_message_id() {
    let mut world = World::start().await.unwrap();
    let devices = world.add_devices(&["a", "b", "c"]).await.unwrap();
    world.bind("lab", &["a", "b", "c"]).await.unwrap();
    let mut next = vec![0; devices.len()];
    let mut acknowledged = vec![Vec::new(); devices.len()];
    for round in 0..3 {
        let pid = world.server.pid().unwrap();
        // The kill comes after a number of arrivals at the hub that differs by round, so in another state each time.
        let killer = async {
            world.arrivals(200 + 700 * round).await.unwrap();
            kill_9(pid);
        };
        let (counts, ()) = tokio::join!(stream_until_cut(&world, &devices, &next), killer);
        for (place, count) in counts.iter().enumerate() {
            acknowledged[place].extend((next[place]..next[place] + count).map(|n| signal(place, n)));
            // What was in flight has an unknown fate: the next round numbers on beyond it.
            next[place] += count + 100;
        }
        world.server.kill().unwrap();
        world.server.start_again().await.unwrap();
    }
    assert!(acknowledged.iter().all(|signals| !signals.is_empty()), "every device had signals acknowledged");
    // A last signal of each device: when it has arrived, so has all that was sent, or sent again, before it.
    for (place, device) in devices.iter().enumerate() {
        let mut connected = Device::connect(world.server.mqtt(), &device.id, &device.password).await.unwrap();
        connected.publish(signal(place, LAST)).await.unwrap();
        acknowledged[place].push(signal(place, LAST));
    }
    let ended = |arrivals: &hubward_tests::Arrivals| {
        let ends = |place| arrivals.events.iter().any(|event| event.body == signal(place, LAST));
        (0..devices.len()).all(ends)
    };
    let arrivals = world.arrivals_until(ended).await.unwrap();
    arrivals.check_message_ids().unwrap();
    for (place, device) in devices.iter().enumerate() {
        let hub_device_id = world.hub_device_id("lab", &device.name).await.unwrap();
        let bodies = arrivals.bodies(&hub_device_id);
        assert!(bodies.is_sorted(), "the signals of {} are in order", device.name);
        for signal in &acknowledged[place] {
            let found = bodies.binary_search(&signal.as_ref());
            assert!(found.is_ok(), "{} was acknowledged but did not arrive", String::from_utf8_lossy(signal));
        }
    }
}

fn kill_9(pid: u32) {
    let killed = std::process::Command::new("kill").args(["-9", &pid.to_string()]).status().unwrap();
    assert!(killed.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_hub_is_away_the_broker_serves_and_nothing_is_lost_when_it_comes_back() {
    let mut world = World::start().await.unwrap();
    let devices = world.add_devices(&["a"]).await.unwrap();
    world.bind("lab", &["a"]).await.unwrap();
    let mut device = Device::connect(world.server.mqtt(), &devices[0].id, &devices[0].password).await.unwrap();
    for number in 0..50 {
        device.publish(signal(0, number)).await.unwrap();
    }
    world.hub.kill().unwrap();
    for number in 50..150 {
        device.publish(signal(0, number)).await.unwrap();
    }
    world.hub.start_again().await.unwrap();
    let arrivals = world.drained("lab", 150).await.unwrap();
    arrivals.check_message_ids().unwrap();
    let hub_device_id = world.hub_device_id("lab", "a").await.unwrap();
    let expected: Vec<Bytes> = (0..150).map(|number| signal(0, number)).collect();
    assert_eq!(arrivals.bodies(&hub_device_id), expected);
}
