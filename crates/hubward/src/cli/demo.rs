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
    /// Kill the server, take the hub away, delete, disable and re-key identities meanwhile, for about half a minute
    #[arg(long = "break", conflicts_with = "duration")]
    blows: bool,
    /// What is logged
    #[arg(long, value_name = "FILTER", default_value = "error")]
    log: String,
}

const EXAMPLES: &str = "\
It needs neither root nor network, and leaves nothing behind. Exit code 1 if a signal was lost
(with --break: or out of order, or a dead letter, or if Hubward did not notice a blow).

Examples:
  hubward demo
  hubward demo --for 10s
  hubward demo --break";

pub(super) async fn run(args: DemoArgs, json: bool) -> Result<(), Failure> {
    observe::log_to_stderr(&args.log, LogFormat::Text)?;
    if args.blows {
        return demo::run_and_break(json).await;
    }
    let metrics = observe::record_metrics()?;
    demo::run(args.duration, metrics, json).await
}
