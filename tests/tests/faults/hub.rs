//! A hub that does what hubs do: loses answers, throttles, counts its day, lets links be stolen, has another time.

use std::time::{Duration, Instant};

use hubward_tests::faults::scene::through;
use hubward_tests::faults::{Allowed, Scene, Setting, for_each_seed};
use reqwest::Method;
use serde_json::{Value, json};

#[tokio::test(flavor = "multi_thread")]
async fn dispositions_are_lost() {
    for_each_seed("dispositions lost", async |mut dice| {
        let scene = Scene::open(&mut dice, Setting::devices(3)).await?;
        scene.more_signals(dice.number(1..=60)).await?;
        // Stored, and the connection dropped instead of the acknowledgement.
        scene.hub.begin_fault(&json!({ "fault": "drop", "after": dice.number(1..=8), "count": 2 })).await?;
        scene.more_signals(dice.number(60..=120)).await?;
        // Neither stored nor acknowledged.
        scene
            .hub
            .begin_fault(&json!({ "fault": "drop", "after": dice.number(1..=8), "count": 1, "lost": true }))
            .await?;
        scene.more_signals(dice.number(60..=120)).await?;
        // Stored, and nothing said until the connection ends.
        let silent =
            scene.hub.begin_fault(&json!({ "fault": "no-disposition", "device": scene.ids[0], "count": 1 })).await?;
        let struck = async || -> anyhow::Result<bool> {
            let faults = scene.hub.admin(Method::GET, "/faults", &json!(null)).await?;
            Ok(faults.as_array().is_some_and(|faults| faults.iter().all(|fault| fault["id"] != silent)))
        };
        scene.until("a disposition is missing", struck).await?;
        scene.more_signals(dice.number(20..=60)).await?;
        scene.to_hub.cut();
        scene.end(Allowed::default()).await
    })
    .await
    .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_is_stolen() {
    for_each_seed("a link stolen", async |mut dice| {
        let scene = Scene::open(&mut dice, Setting::devices(3)).await?;
        scene.more_signals(dice.number(1..=60)).await?;
        scene.hub.begin_fault(&json!({ "fault": "link-stolen", "device": scene.ids[1], "count": 1 })).await?;
        scene.alarm("link_stolen").await?;
        scene.more_signals(dice.number(60..=120)).await?;
        scene.end(Allowed::default()).await
    })
    .await
    .unwrap();
}

/// A hub of this tier, with more signals at once than it lets pass in a second.
async fn a_hub_of(tier: &'static str) {
    for_each_seed(&format!("a hub of tier {tier}"), async |mut dice| {
        let scene = Scene::open(&mut dice, Setting::devices(4).hub(&["--tier", tier, "--queue", "300ms"])).await?;
        scene.more_signals(dice.number(250..=350)).await?;
        scene.end(Allowed::default()).await
    })
    .await
    .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hub_of_tier_s1_throttles() {
    a_hub_of("S1").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hub_of_tier_s3_keeps_up() {
    a_hub_of("S3").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_hub_says_that_it_is_busy_or_throttles() {
    for_each_seed("a hub that refuses for now", async |mut dice| {
        let scene = Scene::open(&mut dice, Setting::devices(3)).await?;
        scene.more_signals(dice.number(1..=60)).await?;
        scene.hub.begin_fault(&json!({ "fault": "throttle", "count": dice.number(1..=3) })).await?;
        scene.more_signals(dice.number(30..=80)).await?;
        scene.hub.begin_fault(&json!({ "fault": "outage", "as": "error", "device": scene.ids[0], "count": 1 })).await?;
        scene.hub.admin(Method::DELETE, &format!("/devices/{}/connection", scene.ids[0]), &json!(null)).await?;
        scene.more_signals(dice.number(30..=80)).await?;
        scene.end(Allowed::default()).await
    })
    .await
    .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_days_messages_are_used_up() {
    for_each_seed("the day's messages used up", async |mut dice| {
        let scene = Scene::open(&mut dice, Setting::devices(2)).await?;
        scene.more_signals(dice.number(1..=60)).await?;
        scene.hub.begin_fault(&json!({ "fault": "quota" })).await?;
        scene.more_signals(dice.number(30..=80)).await?;
        scene.wait_until("waiting", |shown| shown["waiting"].as_u64().unwrap_or_default() > 0).await?;
        scene.open_alarm("quota_used_up").await?;
        // The day is over, and somebody says "retry now" instead of waiting for the next probe.
        scene.hub.clear_faults().await?;
        scene.post("/api/v1/integrations/lab/resume").await?;
        scene.end(Allowed::default()).await
    })
    .await
    .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_hubs_clock_jumps_ahead_and_back() {
    for_each_seed("clocks jump", async |mut dice| {
        let mut scene = Scene::open(&mut dice, Setting::devices(2)).await?;
        scene.more_signals(dice.number(1..=60)).await?;
        // For the hub every token of ours has expired.
        scene.hub.advance(Duration::from_secs(2 * 3600)).await?;
        scene.more_signals(dice.number(30..=80)).await?;
        scene.alarm("clock_off").await?;
        // A hub that starts has the machine's clock again.
        scene.hub.kill()?;
        scene.hub.start_again().await?;
        scene.more_signals(dice.number(1..=60)).await?;
        scene.end(Allowed::default()).await
    })
    .await
    .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_policys_key_is_rolled() {
    for_each_seed("the policy's key rolled", async |mut dice| {
        let scene = Scene::open(&mut dice, Setting::devices(2)).await?;
        scene.more_signals(dice.number(1..=60)).await?;
        scene.hub.begin_fault(&json!({ "fault": "token-refused", "policy": "registryReadWrite" })).await?;
        // Lanes go on with the devices' own keys, over a new connection too.
        scene.to_hub.cut();
        scene.more_signals(dice.number(30..=80)).await?;
        scene.end(Allowed::default()).await
    })
    .await
    .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_policys_key_is_rolled_and_the_new_connection_string_given() {
    for_each_seed("the policy's key rolled, and pasted anew", async |mut dice| {
        let mut scene = Scene::open(&mut dice, Setting::devices(2)).await?;
        scene.more_signals(dice.number(1..=60)).await?;
        scene.hub.kill()?;
        let before = scene.hub.connection_string("registryReadWrite").to_owned();
        scene.hub.roll_policy_key("registryReadWrite")?;
        scene.hub.start_again().await?;
        let after = scene.hub.connection_string("registryReadWrite").to_owned();
        anyhow::ensure!(before != after, "the connection string is another");
        scene.portal.delete(&scene.ids[0]).await?;
        scene.alarm("policy_refused").await?;
        scene.more_signals(dice.number(30..=80)).await?;
        // What is missing cannot be made again with the old string: its signals wait.
        let waits = |binding: &Value| binding["hub_device_id"] == *scene.ids[0] && binding["backlog"] != 0;
        let all = |shown: &Value| shown["devices"].as_array().is_some_and(|all| all.iter().any(waits));
        scene.wait_until("waiting", all).await?;
        scene.edit(&json!({ "connection_string": through(&after, &scene.to_registry) })).await?;
        scene.more_signals(dice.number(1..=60)).await?;
        scene.end(Allowed::default()).await
    })
    .await
    .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_hub_is_away_for_longer_than_a_token_lives() {
    const LIFETIME: Duration = Duration::from_secs(5);
    for_each_seed("a hub away longer than a token lives", async |mut dice| {
        let lifetime = format!("{}s", LIFETIME.as_secs());
        let setting = Setting::devices(3).server(|options| options.arg("--token-lifetime").arg(&lifetime));
        let scene = Scene::open(&mut dice, setting).await?;
        scene.more_signals(dice.number(1..=60)).await?;
        // All is silent, with the connections as they are: no token can be renewed before it ends.
        let silence = scene.hub.begin_fault(&json!({ "fault": "outage", "as": "blackhole" })).await?;
        let expired = Instant::now() + LIFETIME;
        scene.more_signals(dice.number(30..=80)).await?;
        tokio::time::sleep_until(expired.into()).await;
        if dice.coin() {
            scene.to_hub.cut();
        }
        scene.hub.end_fault(silence).await?;
        scene.more_signals(dice.number(30..=80)).await?;
        for number in 0..3 {
            scene.wait_for_state(number, &["delivering"]).await?;
        }
        let alarms = scene.alarms().await?;
        let blamed = |alarm: &&Value| {
            let kind = alarm["kind"].as_str().unwrap_or_default();
            kind.starts_with("identity") || kind == "policy_refused" || kind == "clock_off"
        };
        anyhow::ensure!(!alarms.iter().any(|alarm| blamed(&alarm)), "no device is to blame: {alarms:#?}");
        scene.end(Allowed::default()).await
    })
    .await
    .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_days_messages_are_used_up_and_midnight_passes() {
    for_each_seed("midnight", async |mut dice| {
        // A free hub counts blocks of 512 bytes: some 90 signals of this size use up its day. The hub's midnight comes by
        // its own clock; tokens live over it, and the server looks every second instead of every 15 minutes.
        let setting = Setting::devices(2)
            .hub(&["--tier", "F1", "--retention", "7d"])
            .server(|options| options.arg("--token-lifetime").arg("3d").arg("--quota-probe").arg("1s"))
            .filling(60_000);
        let mut scene = Scene::open(&mut dice, setting).await?;
        let used_up = |shown: &Value| shown["cause"]["code"] == "quota";
        loop {
            // A few at a time, so that what waits in the end is less than the next day takes.
            scene.more_signals(dice.number(1..=10)).await?;
            scene.rest().await?;
            let shown = scene.wait_until("drained or refused", |shown| shown["waiting"] == 0 || used_up(shown)).await?;
            if used_up(&shown) {
                break;
            }
            scene.send();
        }
        let usage = scene.hub.admin(Method::GET, "/usage", &Value::Null).await?;
        anyhow::ensure!(usage["quota"] == 8000, "it is a free hub: {usage}");
        scene.wait_until("waiting", |shown| shown["waiting"].as_u64().is_some_and(|waiting| waiting > 0)).await?;
        scene.hub.admin(Method::POST, "/clock", &json!({ "to": usage["resets_at"] })).await?;
        scene.end(Allowed::default()).await
    })
    .await
    .unwrap();
}
