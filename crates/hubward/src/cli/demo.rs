//! `hubward demo`

use std::time::Duration;

use clap::Args;

use super::Failure;
use crate::config::settings::LogFormat;
use crate::{demo, observe};

/// `hubward demo`
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct DemoArgs {
    /// How long [default: until Ctrl-C]
    #[arg(long = "for", value_name = "DURATION", value_parser = crate::units::duration)]
    duration: Option<Duration>,
    /// What is logged
    #[arg(long, value_name = "FILTER", default_value = "error")]
    log: String,
}

const EXAMPLES: &str = "\
It needs neither root nor network, and leaves nothing behind. Exit code 1 if a signal was lost.

Examples:
  hubward demo
  hubward demo --for 10s";

pub(super) async fn run(args: DemoArgs, json: bool) -> Result<(), Failure> {
    observe::log_to_stderr(&args.log, LogFormat::Text)?;
    let metrics = observe::record_metrics()?;
    demo::run(args.duration, metrics, json).await
}
