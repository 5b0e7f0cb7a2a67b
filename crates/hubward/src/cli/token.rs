//! `hubward token …`

use std::time::Duration;

use clap::{Args, Subcommand};
use hubward_api::shapes::access::{NewToken, TokenMade, TokenRow};
use hubward_model::Timestamp;
use reqwest::Method;
use serde_json::Value;

use super::api::{ApiArgs, segment};
use super::{Failure, output};

/// API tokens
#[derive(Debug, Args)]
pub struct TokenArgs {
    #[command(flatten)]
    api: ApiArgs,
    #[command(subcommand)]
    command: TokenCommand,
}

#[derive(Debug, Subcommand)]
enum TokenCommand {
    /// Make a token; prints it, this once
    #[command(after_help = CREATE_EXAMPLES)]
    Create {
        /// Its name
        name: String,
        /// What it may do: admin, operate, read, metrics; may be repeated
        #[arg(long = "scope", value_name = "SCOPE")]
        scopes: Vec<String>,
        /// MQTT topics it may publish on; may be repeated
        #[arg(long, value_name = "FILTER")]
        publish: Vec<String>,
        /// MQTT topics it may subscribe to; may be repeated
        #[arg(long, value_name = "FILTER")]
        subscribe: Vec<String>,
        /// It ends by itself after this time [default: never]
        #[arg(long, value_name = "DURATION", value_parser = crate::units::duration)]
        expires_in: Option<Duration>,
    },
    /// List the tokens
    #[command(after_help = "Examples:\n  hubward token list")]
    List,
    /// End a token; its MQTT connections are closed
    #[command(after_help = "Examples:\n  hubward token revoke grafana")]
    Revoke {
        /// Its name or id
        #[arg(value_name = "NAME")]
        token_name: String,
    },
}

const CREATE_EXAMPLES: &str = "\
Examples:
  hubward token create ci --scope operate --expires-in 30d
  hubward token create grafana --scope metrics
  hubward token create dashboard --subscribe 'devices/+/signals/#' --publish 'devices/+/commands/#'";

pub(super) async fn run(args: TokenArgs, json: bool) -> Result<(), Failure> {
    let client = args.api.client()?;
    match args.command {
        TokenCommand::Create { name, mut scopes, publish, subscribe, expires_in } => {
            scopes.extend(publish.iter().map(|filter| format!("publish:{filter}")));
            scopes.extend(subscribe.iter().map(|filter| format!("subscribe:{filter}")));
            if scopes.is_empty() {
                return Err(Failure::usage(
                    "a token without scope may do nothing",
                    "give --scope admin, operate, read or metrics, or --publish and --subscribe for MQTT",
                ));
            }
            let wanted = NewToken { name, scopes, expires_in: expires_in.map(|time| time.as_secs()) };
            let made: TokenMade = client.send(Method::POST, "/api/v1/tokens", &wanted).await?;
            if json {
                return output::json(&made);
            }
            output::line(&format!(
                "Token {} may: {}. It is shown this once:",
                made.row.name,
                made.row.scopes.join(", ")
            ))?;
            output::line(&made.token)
        }
        TokenCommand::List => {
            let tokens: Vec<TokenRow> = client.all("/api/v1/tokens").await?;
            if json {
                return output::json(&tokens);
            }
            let rows: Vec<Vec<String>> = tokens
                .into_iter()
                .map(|row| {
                    let or_never = |time: Option<Timestamp>| time.map_or_else(|| "never".to_owned(), |t| t.to_string());
                    let (ends, used) = (or_never(row.expires_at), or_never(row.last_used_at));
                    vec![row.name, row.id, row.scopes.join(" "), row.created_at.to_string(), ends, used]
                })
                .collect();
            output::table(&["NAME", "ID", "SCOPES", "CREATED", "ENDS", "LAST USED"], &rows, "There are no tokens.")
        }
        TokenCommand::Revoke { token_name } => {
            let path = format!("/api/v1/tokens/{}", segment(&token_name));
            let done: Value = client.delete(&path, &[]).await?;
            if json { output::json(&done) } else { output::line(&format!("token {token_name} has ended")) }
        }
    }
}
