//! Identities changed in the hub by somebody else, with a backlog waiting: one of them, half of them, all of them.

use anyhow::{Context, Result};
use hubward_tests::faults::{Allowed, Dice, Scene, Setting, for_each_seed};

/// How many devices send.
const DEVICES: usize = 4;
/// How many of them are struck, from the first on.
const SHARES: [usize; 3] = [1, DEVICES / 2, DEVICES];

/// Some signals pass, then the way to the hub is cut, a backlog grows, `blow` strikes `struck` identities, and the way is
/// free again.
async fn strike(dice: &mut Dice, struck: usize, blow: impl AsyncFn(&Scene, &str) -> Result<()>) -> Result<Scene> {
    let scene = Scene::open(dice, Setting::devices(DEVICES)).await?;
    scene.more_signals(dice.number(1..=80)).await?;
    scene.to_hub.refuse(true);
    scene.to_hub.cut();
    scene.more_signals(dice.number(20..=80)).await?;
    for id in &scene.ids[..struck] {
        blow(&scene, id).await?;
    }
    scene.to_hub.refuse(false);
    scene.more_signals(dice.number(20..=80)).await?;
    Ok(scene)
}

/// The same while everything flows.
async fn strike_in_flow(
    dice: &mut Dice,
    struck: usize,
    blow: impl AsyncFn(&Scene, &str) -> Result<()>,
) -> Result<Scene> {
    let scene = Scene::open(dice, Setting::devices(DEVICES)).await?;
    scene.more_signals(dice.number(1..=80)).await?;
    for id in &scene.ids[..struck] {
        blow(&scene, id).await?;
    }
    scene.more_signals(dice.number(20..=80)).await?;
    Ok(scene)
}

#[tokio::test(flavor = "multi_thread")]
async fn identities_are_disabled_and_enabled_again() {
    for_each_seed("identities disabled", async |mut dice| {
        for struck in SHARES {
            let scene =
                strike_in_flow(&mut dice, struck, async |scene, id| scene.portal.enable(id, false).await).await?;
            for number in 0..struck {
                scene.wait_for_state(number, &["disabled", "held"]).await?;
                scene.until("it is told", async || scene.has_alarm("identity_disabled", number).await).await?;
            }
            for id in &scene.ids[..struck] {
                scene.portal.enable(id, true).await?;
            }
            scene.no_alarm("identity_disabled").await?;
            scene.end(Allowed::default()).await?;
        }
        Ok(())
    })
    .await
    .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn identities_are_deleted_with_a_backlog() {
    for_each_seed("identities deleted", async |mut dice| {
        for struck in SHARES {
            let scene = strike(&mut dice, struck, async |scene, id| scene.portal.delete(id).await).await?;
            for id in &scene.ids[..struck] {
                scene
                    .until("it is made again", async || Ok(scene.portal.find(id).await?.is_some()))
                    .await
                    .with_context(|| id.clone())?;
            }
            for number in 0..struck {
                scene.told(number, "identity_recreated", "identity.recreate").await?;
            }
            scene.end(Allowed::default()).await?;
        }
        Ok(())
    })
    .await
    .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_of_identities_are_rolled_with_a_backlog() {
    for_each_seed("identities re-keyed", async |mut dice| {
        for struck in SHARES {
            let scene = strike(&mut dice, struck, async |scene, id| scene.portal.roll_keys(id).await).await?;
            for number in 0..struck {
                scene.told(number, "identity_rekeyed", "identity.rekey").await?;
            }
            scene.end(Allowed::default()).await?;
        }
        Ok(())
    })
    .await
    .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn identities_are_deleted_and_made_again_by_somebody_else() {
    for_each_seed("identities re-created", async |mut dice| {
        for struck in SHARES {
            let scene = strike(&mut dice, struck, async |scene, id| {
                scene.portal.delete(id).await?;
                scene.portal.create(id).await?;
                Ok(())
            });
            let scene = scene.await?;
            for number in 0..struck {
                scene.told(number, "identity_rekeyed", "identity.rekey").await?;
            }
            scene.end(Allowed::default()).await?;
        }
        Ok(())
    })
    .await
    .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_identity_that_is_deleted_twice_is_held_until_a_person_decides() {
    for_each_seed("an identity deleted twice", async |mut dice| {
        let scene = Scene::open(&mut dice, Setting::devices(2)).await?;
        scene.more_signals(dice.number(1..=60)).await?;
        let id = scene.ids[0].clone();
        scene.portal.delete(&id).await?;
        scene.until("it is made again", async || Ok(scene.portal.find(&id).await?.is_some())).await?;
        scene.wait_for_state(0, &["delivering"]).await?;
        scene.more_signals(dice.number(1..=60)).await?;
        scene.portal.delete(&id).await?;
        scene.until("a person is asked", async || scene.has_alarm("deleted_twice", 0).await).await?;
        scene.more_signals(dice.number(20..=60)).await?;
        anyhow::ensure!(scene.portal.find(&id).await?.is_none(), "it is not made a third time by itself");
        scene.post("/api/v1/integrations/lab/reconcile").await?;
        scene.end(Allowed::default()).await
    })
    .await
    .unwrap();
}
