//! `hubward key …`

use clap::{Args, Subcommand};
use hubward_api::shapes::misc::KeysRotated;

use super::api::ApiArgs;
use super::{Failure, output};

/// Keys that seal the secrets
#[derive(Debug, Args)]
pub struct KeyArgs {
    #[command(flatten)]
    api: ApiArgs,
    #[command(subcommand)]
    command: KeyCommand,
}

#[derive(Debug, Subcommand)]
enum KeyCommand {
    /// Seal all secrets again with new keys
    #[command(after_help = "Examples:\n  hubward key rotate")]
    Rotate,
}

pub(super) async fn run(args: KeyArgs, json: bool) -> Result<(), Failure> {
    let client = args.api.client()?;
    let KeyCommand::Rotate = args.command;
    let rotated: KeysRotated = client.post("/api/v1/keys/rotate").await?;
    if json {
        return output::json(&rotated);
    }
    output::line(&format!("{} secrets sealed again with data key {}", rotated.resealed, rotated.data_key_id))?;
    let changed = if rotated.master_key_changed { "new" } else { "unchanged" };
    output::line(&format!("master key {} ({changed})", rotated.master_key_id))
}
