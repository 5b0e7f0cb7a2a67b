//! The network between devices, server and hub: cut, slow, silent, half open, at another address.

use std::time::Duration;

use hubward_tests::Proxy;
use hubward_tests::faults::{Allowed, Scene, Setting, for_each_seed};

#[tokio::test(flavor = "multi_thread")]
async fn the_way_to_the_hub_is_cut_in_every_state() {
    for_each_seed("connections to the hub cut after so many bytes", async |mut dice| {
        let scene = Scene::open(&mut dice, Setting::devices(3)).await?;
        // In TLS, in SASL and open, at a token or a link, among transfers: by how much was said until then.
        for state in [1..=2_000, 2_000..=6_000, 5_000..=40_000] {
            scene.to_hub.cut_after(Some(dice.number(state) as u64));
            let tries = scene.to_hub.passed();
            scene.to_hub.cut();
            scene.until("the server connects again", async || Ok(scene.to_hub.passed() > tries)).await?;
            scene.more_signals(dice.number(1..=60)).await?;
        }
        scene.to_hub.cut_after(None);
        scene.to_hub.cut();
        for _ in 0..3 {
            scene.more_signals(dice.number(1..=60)).await?;
            scene.to_hub.cut();
        }
        scene.end(Allowed::default()).await
    })
    .await
    .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_way_from_the_devices_is_cut_slow_and_half_open() {
    for_each_seed("connections of devices", async |mut dice| {
        let scene = Scene::open(&mut dice, Setting::devices(3)).await?;
        for _ in 0..3 {
            scene.more_signals(dice.number(1..=80)).await?;
            scene.to_server.cut();
        }
        scene.to_server.delay(dice.millis(5..=40));
        scene.more_signals(dice.number(1..=40)).await?;
        scene.to_server.delay(Duration::ZERO);
        scene.to_server.cut_after(Some(dice.number(20..=400) as u64));
        scene.to_server.cut();
        let tries = scene.to_server.passed();
        scene.until("devices were cut again", async || Ok(scene.to_server.passed() > tries + 6)).await?;
        scene.to_server.cut_after(None);
        scene.to_server.cut();
        scene.more_signals(20).await?;
        scene.to_server.half_open();
        scene.to_server.cut();
        scene.more_signals(20).await?;
        scene.end(Allowed::default()).await
    })
    .await
    .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_way_to_the_hub_is_slow_silent_and_half_open() {
    for_each_seed("a black hole on the way to the hub", async |mut dice| {
        let scene = Scene::open(&mut dice, Setting::devices(3)).await?;
        scene.to_hub.delay(dice.millis(5..=80));
        scene.more_signals(dice.number(30..=100)).await?;
        scene.to_hub.delay(Duration::ZERO);
        scene.to_hub.hold(true);
        scene.more_signals(dice.number(30..=100)).await?;
        // What was held comes late, or the connection ends with it.
        let late = dice.coin();
        if !late {
            scene.to_hub.cut();
        }
        scene.to_hub.hold(false);
        scene.more_signals(dice.number(30..=100)).await?;
        scene.to_hub.half_open();
        scene.more_signals(dice.number(30..=100)).await?;
        scene.to_hub.cut();
        scene.end(Allowed::default()).await
    })
    .await
    .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_hub_refuses_connections_while_it_is_there() {
    for_each_seed("connections to the hub refused", async |mut dice| {
        let scene = Scene::open(&mut dice, Setting::devices(2)).await?;
        scene.more_signals(dice.number(1..=60)).await?;
        scene.to_hub.refuse(true);
        scene.to_hub.cut();
        scene.wait_until("away, and says so", |shown| shown["cause"]["code"] == "hub_away").await?;
        scene.more_signals(dice.number(30..=100)).await?;
        scene.to_hub.refuse(false);
        scene.more_signals(dice.number(1..=60)).await?;
        scene.end(Allowed::default()).await
    })
    .await
    .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_hubs_name_leads_to_another_address() {
    for_each_seed("another address", async |mut dice| {
        let mut scene = Scene::open(&mut dice, Setting::devices(2)).await?;
        scene.more_signals(dice.number(1..=60)).await?;
        // `localhost` has two addresses: at first only 127.0.0.1 answers, later only ::1.
        let target = scene.hub.address("amqps")?;
        let six = std::net::ToSocketAddrs::to_socket_addrs(&("localhost", 0))?.any(|address| address.is_ipv6());
        let other = Proxy::start_at(&format!("[::1]:{}", scene.to_hub.port()), target).await;
        let Some(other) = other.ok().filter(|_| six) else {
            eprintln!("on this machine localhost is 127.0.0.1 alone: the name cannot lead elsewhere");
            return scene.end(Allowed::default()).await;
        };
        let before = std::mem::replace(&mut scene.to_hub, other);
        before.cut();
        drop(before);
        scene.until("the server finds it there", async || Ok(scene.to_hub.passed() > 0)).await?;
        scene.more_signals(dice.number(20..=60)).await?;
        scene.end(Allowed::default()).await
    })
    .await
    .unwrap();
}
