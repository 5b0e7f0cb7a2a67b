//! Signals that a hub refuses for good, between good ones.

use hubward_tests::faults::{Allowed, Scene, Setting, for_each_seed};
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
