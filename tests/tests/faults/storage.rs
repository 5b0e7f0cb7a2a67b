//! The data folder: full, and an old copy of it restored.

use anyhow::{Context, Result};
use hubward_tests::faults::{Allowed, Scene, Setting, for_each_seed};

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
            let info = scene.api()?.get("/api/v1/journal/info").await?;
            let figure = |key: &str| info[key].as_u64().with_context(|| format!("{key} of {info}"));
            Ok(figure("bytes")? + (1 << 20) > figure("limit_bytes")?)
        };
        scene.until("the journal is full", full).await?;
        scene.to_hub.refuse(false);
        scene.more_signals(dice.number(150..=200)).await?;
        scene.end(Allowed::default()).await
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
