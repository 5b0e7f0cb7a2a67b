//! Scenario `attach`: how long all devices of an integration take to attach after a start.

use std::path::Path;
use std::time::Instant;

use anyhow::Result;
use hubward_bench::rounds::median;
use hubward_bench::system::{self, Hub};

use crate::Args;

pub(crate) async fn run(args: &Args, folder: &Path) -> Result<()> {
    let count = args.devices.unwrap_or(3000);
    let hub = Hub::start(folder)?;
    let mut ours = system::hubward(folder, &hub).await?.with_devices(folder, &hub, count).await?;
    let mut times = Vec::new();
    for number in 0..args.rounds {
        drop(ours);
        hub.wait_until_connected(0).await?;
        let began = Instant::now();
        ours = system::hubward(folder, &hub).await?;
        let listening = began.elapsed().as_secs_f64();
        hub.wait_until_connected(count).await?;
        times.push(began.elapsed().as_secs_f64());
        println!("round {number}: listening after {listening:.2} s, {count} attached after {:.2} s", times[number]);
    }
    println!("\n{count} devices attached {:.2} s after the start of the process (median)", median(&times));
    Ok(())
}
