//! Power cuts: kill -9 of the server, of the hub, of both.

use hubward_tests::faults::{Allowed, Scene, Setting, for_each_seed};

#[tokio::test(flavor = "multi_thread")]
async fn the_server_is_killed_at_random_moments() {
    for_each_seed("kill -9 of the server", async |mut dice| {
        let mut scene = Scene::open(&mut dice, Setting::devices(3)).await?;
        for _ in 0..3 {
            scene.more_signals(dice.number(1..=120)).await?;
            scene.server.kill()?;
            scene.server.start_again().await?;
        }
        scene.more_signals(30).await?;
        scene.end(Allowed::default()).await
    })
    .await
    .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_hub_is_killed_at_random_moments() {
    for_each_seed("kill -9 of the hub", async |mut dice| {
        let mut scene = Scene::open(&mut dice, Setting::devices(3)).await?;
        for _ in 0..2 {
            scene.more_signals(dice.number(1..=120)).await?;
            scene.hub.kill()?;
            scene.wait_until("away, and says so", |shown| shown["cause"]["code"] == "hub_away").await?;
            // The broker serves while it is away.
            scene.more_signals(dice.number(1..=60)).await?;
            scene.hub.start_again().await?;
        }
        scene.more_signals(30).await?;
        scene.end(Allowed::default()).await
    })
    .await
    .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn server_and_hub_are_killed_together() {
    for_each_seed("kill -9 of both", async |mut dice| {
        let mut scene = Scene::open(&mut dice, Setting::devices(3)).await?;
        scene.more_signals(dice.number(1..=120)).await?;
        if dice.coin() {
            scene.hub.kill()?;
            scene.server.kill()?;
        } else {
            scene.server.kill()?;
            scene.hub.kill()?;
        }
        // The server starts while its hub is not there.
        scene.server.start_again().await?;
        scene.wait_until("away, and says so", |shown| shown["cause"]["code"] == "hub_away").await?;
        scene.more_signals(dice.number(1..=60)).await?;
        scene.hub.start_again().await?;
        scene.more_signals(30).await?;
        scene.end(Allowed::default()).await
    })
    .await
    .unwrap();
}
