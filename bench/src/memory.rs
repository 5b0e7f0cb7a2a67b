//! Scenario `memory`: what an idle device costs, connected here and attached to the hub.

use std::path::Path;

use anyhow::Result;
use hubward_bench::loader;
use hubward_bench::system::{self, Hub};
use hubward_bench::usage;

use crate::Args;

/// The smaller fleet; what the server needs for itself is the same in both.
const FEW: usize = 500;

pub(crate) async fn run(args: &Args, folder: &Path) -> Result<()> {
    let many = args.devices.unwrap_or(2500).max(FEW + 1);
    let per_device = slope(folder, FEW, many).await?;
    println!("{:.1} KB resident for each idle device with its link to the hub", per_device / 1024.0);
    Ok(())
}

/// Bytes that each further device costs between a small and a large idle fleet, each freshly started.
pub(crate) async fn slope(folder: &Path, few: usize, many: usize) -> Result<f64> {
    let hub = Hub::start(folder)?;
    let mut ours = system::hubward(folder, &hub).await?.with_devices(folder, &hub, few).await?;
    let mut resident = Vec::new();
    for count in [few, many] {
        ours.add_devices(count - ours.devices.len()).await?;
        hub.wait_until_connected(count).await?;
        let devices = std::mem::take(&mut ours.devices);
        drop(ours);
        ours = system::hubward(folder, &hub).await?;
        ours.devices = devices;
        hub.wait_until_connected(count).await?;
        let streams = loader::connect(&ours.mqtt, &ours.devices).await?;
        resident.push(usage::resident_bytes(ours.process.id())?);
        println!("{count} devices: {:.1} MB resident", resident[resident.len() - 1] as f64 / 1024.0 / 1024.0);
        drop(streams);
    }
    Ok((resident[1] as f64 - resident[0] as f64) / (many - few) as f64)
}
