//! Signals that a hub refuses for good, between good ones, and signals that wait for longer than may be.

use anyhow::ensure;
use hubward_tests::faults::{Allowed, Scene, Setting, Violation, for_each_seed};
use serde_json::json;

/// What the hub finds wrong with a signal.
const BAD: &str = "bad";

#[tokio::test(flavor = "multi_thread")]
async fn poison_between_good_signals_becomes_dead_letters_and_delays_nobody() {
    for_each_seed("poison between good signals", async |mut dice| {
        let mut scene = Scene::set(&mut dice, Setting::devices(3).word(BAD)).await?;
        scene.hub.begin_fault(&json!({ "fault": "poison", "containing": BAD })).await?;
        scene.send();
        scene.more_signals(dice.number(100..=200)).await?;
        let allowed = Allowed { dead_letters: vec![BAD.to_owned()], ..Allowed::default() };
        scene.end(allowed).await
    })
    .await
    .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn poison_is_one_dead_letter_though_the_server_is_killed() {
    for_each_seed("poison and kill -9", async |mut dice| {
        let mut scene = Scene::set(&mut dice, Setting::devices(2).word(BAD)).await?;
        scene.hub.begin_fault(&json!({ "fault": "poison", "containing": BAD })).await?;
        scene.send();
        for _ in 0..2 {
            scene.more_signals(dice.number(20..=100)).await?;
            tokio::time::sleep(dice.millis(0..=20)).await;
            scene.server.kill()?;
            scene.server.start_again().await?;
        }
        scene.more_signals(20).await?;
        let allowed = Allowed { dead_letters: vec![BAD.to_owned()], ..Allowed::default() };
        scene.end(allowed).await
    })
    .await
    .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signal_that_ends_its_connection_each_time_is_found_and_the_others_arrive() {
    for_each_seed("poison that hangs up", async |mut dice| {
        let mut scene = Scene::open(&mut dice, Setting::devices(3)).await?;
        scene.more_signals(dice.number(20..=60)).await?;
        scene.rest().await?;
        let fault = json!({ "fault": "poison", "containing": BAD, "close": true });
        let fault = scene.hub.begin_fault(&fault).await?;
        scene.sender(0).say(BAD).await?;
        scene.send();
        scene.more_signals(dice.number(60..=120)).await?;
        scene.rest().await?;
        scene.drained().await?;
        let given_up = scene.given_up().await?;
        ensure!(given_up.dead_letters.len() == 1, "one signal is given up: {given_up:?}");
        let why = &given_up.dead_letters[0].reason;
        ensure!(why.contains("its connection ended each time"), "it says what it did: {why}");
        let struck = scene.hub.end_fault(fault).await?["hits"].as_u64().unwrap_or_default();
        ensure!(struck >= 3, "it was not given up before it had ended three connections, but {struck}");
        scene.send();
        scene.more_signals(dice.number(1..=30)).await?;
        let allowed = Allowed { dead_letters: vec![BAD.to_owned()], ..Allowed::default() };
        scene.end(allowed).await
    })
    .await
    .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_oldest_of_a_disabled_device_expire_where_its_integration_says_so_and_are_listed() {
    for_each_seed("the oldest expire", async |mut dice| {
        let setting = Setting::devices(2).filling(20_000);
        let setting = setting.integration("on_full", "expire-oldest").integration("device_backlog_limit", 1 << 20);
        let mut scene = Scene::open(&mut dice, setting).await?;
        scene.more_signals(dice.number(1..=20)).await?;
        scene.portal.enable(&scene.ids[0].clone(), false).await?;
        scene.wait_for_state(0, &["disabled", "held"]).await?;
        scene.alarm("expired").await?;
        scene.more_signals(dice.number(1..=60)).await?;
        scene.portal.enable(&scene.ids[0].clone(), true).await?;
        let unnamed = scene.verdict(&Allowed::default()).await?;
        let told =
            unnamed.iter().any(|one| matches!(one, Violation::Expired { device, .. } if *device == scene.ids[0]));
        ensure!(told, "a run whose plan does not name it fails: {unnamed:?}");
        let allowed = Allowed { expiries: [scene.ids[0].clone()].into(), ..Allowed::default() };
        scene.end(allowed).await
    })
    .await
    .unwrap();
}
