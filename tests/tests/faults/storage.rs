//! The data folder: full, on a disk that is full or fails, torn, damaged, and an old copy of it restored.

use std::io::Write as _;

use anyhow::{Context, Result, ensure};
use hubward_tests::faults::disk::{self, FailingSyncs, Filler};
use hubward_tests::faults::{Allowed, Scene, Setting, for_each_seed};
use serde_json::Value;

#[tokio::test(flavor = "multi_thread")]
async fn an_old_copy_of_the_data_folder_is_restored() {
    for_each_seed("a restored data folder", async |mut dice| {
        let mut scene = Scene::open(&mut dice, Setting::devices(2)).await?;
        scene.more_signals(dice.number(20..=100)).await?;
        scene.rest().await?;
        scene.drained().await?;
        scene.server.stop().await?;
        let copy = scene.server.folder().join("copy");
        copy_folder(&scene.server.data(), &copy)?;
        scene.server.start_again().await?;
        scene.send();
        scene.more_signals(dice.number(20..=100)).await?;
        // All of it is at the hub: what only the lost folder knew could not be sent again.
        scene.rest().await?;
        scene.drained().await?;
        scene.server.kill()?;
        std::fs::remove_dir_all(scene.server.data())?;
        std::fs::rename(&copy, scene.server.data())?;
        scene.server.start_again().await?;
        scene.send();
        scene.more_signals(dice.number(20..=100)).await?;
        // New records stand where lost ones stood; the verdict finds any message-id that came twice.
        scene.end(Allowed::default()).await
    })
    .await
    .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_journal_is_full_while_the_hub_is_away_and_freed_when_it_is_back() {
    for_each_seed("a full journal", async |mut dice| {
        let setting = Setting::devices(2).config("limit = \"4MiB\"\n").filling(30_000);
        let scene = Scene::open(&mut dice, setting).await?;
        scene.more_signals(dice.number(1..=20)).await?;
        scene.to_hub.refuse(true);
        scene.to_hub.cut();
        let full = async || -> Result<bool> {
            let info = journal(&scene).await?;
            let figure = |key: &str| info[key].as_u64().with_context(|| format!("{key} of {info}"));
            Ok(figure("bytes")? + (1 << 20) > figure("limit_bytes")?)
        };
        scene.until("the journal is full", full).await?;
        let held = async || Ok(journal(&scene).await?["holds"].as_array().is_some_and(|holds| !holds.is_empty()));
        scene.until("what waits is held apart", held).await?;
        // More than the journal has room for beside what waits.
        scene.more_signals(300).await?;
        journal_is(&scene, "ok").await?;
        scene.to_hub.refuse(false);
        scene.more_signals(dice.number(150..=200)).await?;
        scene.end(Allowed::default()).await
    })
    .await
    .unwrap();
}

/// What the API says of the journal.
async fn journal(scene: &Scene) -> Result<Value> {
    scene.api()?.get("/api/v1/journal/info").await
}

/// Waits until the journal's health is this.
async fn journal_is(scene: &Scene, health: &str) -> Result<()> {
    scene.until(&format!("the journal is {health}"), async || Ok(journal(scene).await?["health"] == health)).await
}

/// Says that a case cannot be played on this machine, and why.
fn skipped(why: &anyhow::Error) {
    // Not print!, which is shown of failing tests alone.
    let _ = writeln!(std::io::stderr(), "skipped: {why:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_disk_is_full_and_freed() {
    let small = match disk::small(24 << 20) {
        Ok(small) => small,
        Err(why) => return skipped(&why),
    };
    for_each_seed("a full disk", async |mut dice| {
        let setting = Setting::devices(2).server(|options| options.within(small.clone())).filling(2_000);
        let scene = Scene::open(&mut dice, setting).await?;
        scene.more_signals(dice.number(1..=40)).await?;
        for _ in 0..2 {
            let filler = Filler::fill(&scene.server)?;
            let told = async || {
                filler.take_the_rest()?;
                let full = journal(&scene).await?["health"] == "full" && scene.is_open("disk_full").await?;
                Ok(full && scene.metrics().await?.contains("hubward_alarms{kind=\"disk_full\"} 1"))
            };
            scene.until("the journal has no room, which an alarm and the figures tell", told).await?;
            drop(filler);
            scene.more_signals(dice.number(20..=60)).await?;
            scene.no_alarm("disk_full").await?;
        }
        scene.end(Allowed::default()).await
    })
    .await
    .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_disk_loses_what_is_written_and_says_so_at_the_sync() {
    let failing = match FailingSyncs::new() {
        Ok(failing) => failing,
        Err(why) => return skipped(&why),
    };
    for_each_seed("failed syncs", async |mut dice| {
        let setting = Setting::devices(2).server(|options| options.within(failing.surroundings()));
        let mut scene = Scene::open(&mut dice, setting).await?;
        for killed in [false, true] {
            scene.more_signals(dice.number(1..=60)).await?;
            failing.fail(true)?;
            journal_is(&scene, "failed").await?;
            if killed {
                scene.open_alarm("journal_failed").await?;
                scene.server.kill()?;
            }
            failing.fail(false)?;
            if killed {
                scene.server.start_again().await?;
            }
        }
        scene.more_signals(dice.number(20..=60)).await?;
        scene.end(Allowed::default()).await
    })
    .await
    .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_tail_of_the_journal_is_torn_by_a_power_cut() {
    for_each_seed("a torn tail", async |mut dice| {
        let mut scene = Scene::open(&mut dice, Setting::devices(2)).await?;
        for times in 1..=2 {
            scene.more_signals(dice.number(1..=80)).await?;
            scene.server.kill()?;
            disk::tear(&scene.server)?;
            scene.server.start_again().await?;
            let told = scene.server.log_text().matches("cut a torn tail").count();
            ensure!(told >= times, "the half of a record is cut, and the log says so: {told} of {times}");
        }
        scene.more_signals(dice.number(20..=60)).await?;
        scene.end(Allowed::default()).await
    })
    .await
    .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn signals_are_damaged_in_the_middle_of_the_journal() {
    for_each_seed("a damaged segment", async |mut dice| {
        let mut scene = Scene::open(&mut dice, Setting::devices(2).filling(30_000)).await?;
        scene.more_signals(dice.number(1..=20)).await?;
        scene.to_hub.refuse(true);
        scene.to_hub.cut();
        scene.until("there are segments that are full", async || Ok(disk::segments(&scene.server)?.len() >= 4)).await?;
        scene.rest().await?;
        scene.server.kill()?;
        let segments = disk::segments(&scene.server)?;
        let middle = &segments[1..segments.len() - 1];
        let mut allowed = Allowed::default();
        for (device, signals) in scene.story.lanes() {
            // Half of the signals are old enough not to be in the newest segment, and too new to be at the hub.
            let late = &signals[signals.len() / 2..];
            let late = &late[..late.len() / 2];
            for _ in 0..dice.number(1..=2) {
                let struck = dice.one_of(late).body.clone();
                for segment in middle {
                    if disk::damage(segment, &struck)? {
                        allowed.damaged.insert((device.clone(), struck.clone()));
                    }
                }
            }
        }
        ensure!(!allowed.damaged.is_empty(), "a signal that waits stands in a full segment");
        scene.server.start_again().await?;
        scene.to_hub.refuse(false);
        scene.send();
        scene.more_signals(dice.number(1..=30)).await?;
        scene.alarm("signals_damaged").await?;
        let info = journal(&scene).await?;
        ensure!(info["damaged_gaps"].as_u64().unwrap_or_default() > 0, "the journal says so: {info}");
        scene.end(allowed).await
    })
    .await
    .unwrap();
}

fn copy_folder(from: &std::path::Path, to: &std::path::Path) -> Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from).context("read the data folder")? {
        let (path, target) = {
            let entry = entry?;
            (entry.path(), to.join(entry.file_name()))
        };
        if path.is_dir() {
            copy_folder(&path, &target)?;
        } else {
            std::fs::copy(&path, &target)?;
        }
    }
    Ok(())
}
