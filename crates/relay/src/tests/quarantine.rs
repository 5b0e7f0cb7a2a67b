use std::time::Duration;

use tokio::time::sleep;

use super::world::World;
use crate::options::Options;

#[tokio::test(start_paused = true)]
async fn a_signal_that_ends_its_connection_is_found_and_given_up_while_the_others_deliver() {
    let mut world = World::pooled(Options::default());
    let devices: Vec<_> = (0..200).map(|n| world.device(&format!("d{n}"))).collect();
    world.start().await;
    for round in 0..40 {
        for device in &devices {
            world.publish(device, format!("{round}"));
        }
        if round == 5 {
            world.publish(&devices[77], "cut");
        }
        sleep(Duration::from_millis(250)).await;
    }
    world.settled().await;
    world.check(true);
    let dead = world.ledger.dead();
    assert_eq!(dead.len(), 1, "{dead:?}");
    assert_eq!((dead[0].code.as_str(), &dead[0].record.message.payload[..]), ("ends_connections", &b"cut"[..]));
    let (opened, most, cut) = world.hub.wires();
    assert!(cut <= 15, "two losses, eight halvings, and a few alone: {cut}");
    assert!(opened <= 60 && most <= 18, "{opened} opened, {most} at a time");
    // Nobody is kept apart for longer than needed: all are on one connection again.
    world.publish(&devices[77], "after");
    world.settled().await;
    sleep(Duration::from_secs(60)).await;
    assert_eq!(world.session.uplink.connections(), 1);
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn while_it_is_found_who_ends_connections_the_others_wait_for_no_pause() {
    let mut options = Options::default();
    options.timing.open = (Duration::from_secs(600), Duration::from_secs(600));
    let mut world = World::pooled(options);
    let devices: Vec<_> = (0..50).map(|n| world.device(&format!("d{n}"))).collect();
    world.start().await;
    for device in &devices {
        world.publish(device, "before");
    }
    world.settled().await;
    world.publish(&devices[7], "cut");
    sleep(Duration::from_secs(5)).await;
    for device in &devices {
        world.publish(device, "after");
    }
    sleep(Duration::from_secs(5)).await;
    for device in devices.iter().filter(|device| **device != devices[7]) {
        assert_eq!(world.hub.stored_of(device.as_str()).len(), 2, "{device}");
    }
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_hub_that_ends_all_connections_makes_no_dead_letters() {
    let mut world = World::pooled(Options::default());
    let devices: Vec<_> = (0..20).map(|n| world.device(&format!("d{n}"))).collect();
    world.start().await;
    for round in 0..30 {
        for device in &devices {
            world.publish(device, format!("{round}"));
        }
        // Connections open, and end with the next transfer.
        world.hub.cut_all(true);
        sleep(Duration::from_secs(2)).await;
    }
    assert!(world.hub.wires().0 > 30, "{:?}", world.hub.wires());
    world.hub.cut_all(false);
    world.settled().await;
    world.check(true);
    assert!(world.ledger.dead().is_empty());
    world.stop().await;
}
