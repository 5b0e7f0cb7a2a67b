//! `hubward config …`

use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde_json::{Map, Value, json};

use super::up::SettingFlags;
use super::{Failure, output};
use crate::config::keys::{KEYS, Shape};
use crate::config::{Layers, Settings};

/// The settings in effect
#[derive(Debug, Args)]
pub struct ConfigArgs {
    #[command(subcommand)]
    command: ConfigCommand,
}

#[derive(Debug, Subcommand)]
enum ConfigCommand {
    /// Print every setting, and where it came from
    #[command(after_help = "Examples:\n  hubward config print\n  hubward config print --config ./hubward.toml --json")]
    Print {
        /// Configuration file (TOML) [default: /etc/hubward/hubward.toml if it is there]
        #[arg(long, env = "HUBWARD_CONFIG", hide_env_values = true, value_name = "FILE")]
        config: Option<PathBuf>,
        #[command(flatten)]
        flags: Box<SettingFlags>,
    },
}

pub(super) fn run(args: ConfigArgs, json: bool) -> Result<(), Failure> {
    let ConfigCommand::Print { config, flags } = args.command;
    let layers = Layers::read(config.as_deref(), std::env::vars(), &flags.flags()).map_err(|error| error.problem())?;
    Settings::from_layers(&layers).map_err(|error| error.problem())?;
    if json { output::json(&as_json(&layers)) } else { as_text(&layers).iter().try_for_each(|line| output::line(line)) }
}

fn as_json(layers: &Layers) -> Value {
    let mut settings = Map::new();
    for key in KEYS {
        let (values, origin) = layers.get(key.name);
        let value = match key.shape {
            Shape::List => json!(values),
            _ => json!(values.first()),
        };
        settings.insert(key.name.to_owned(), json!({ "value": value, "from": origin.to_string() }));
    }
    Value::Object(settings)
}

/// As the file would say it, each with its origin as a remark.
fn as_text(layers: &Layers) -> Vec<String> {
    let mut lines = Vec::new();
    let mut table = "";
    for key in KEYS {
        let (values, origin) = layers.get(key.name);
        let name = match key.name.split_once('.') {
            Some((in_table, name)) => {
                if table != in_table {
                    lines.push(String::new());
                    lines.push(format!("[{in_table}]"));
                    table = in_table;
                }
                name
            }
            None => key.name,
        };
        let quoted = |text: &String| toml::Value::String(text.clone()).to_string();
        let value = match (key.shape, values) {
            (Shape::List, values) => format!("[{}]", values.iter().map(quoted).collect::<Vec<_>>().join(", ")),
            (Shape::Switch, [value]) => value.clone(),
            (_, [value, ..]) => quoted(value),
            (_, []) => {
                lines.push(format!("# {name}: not set ({})", key.help));
                continue;
            }
        };
        lines.push(format!("{name} = {value}  # {origin}"));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Flag;

    #[test]
    fn what_is_printed_is_a_file_that_means_the_same() {
        let flags = [
            Flag { key: "allow_hub", values: vec!["a".into(), "b:1".into()] },
            Flag { key: "local_hub", values: vec!["true".into()] },
        ];
        let layers = Layers::merge(None, std::iter::empty(), &flags).unwrap();
        let text = as_text(&layers).join("\n");
        assert!(text.contains("allow_hub = [\"a\", \"b:1\"]  # --allow-hub"), "{text}");
        let again = Layers::merge(Some((std::path::Path::new("f"), &text)), std::iter::empty(), &[]).unwrap();
        for key in KEYS {
            assert_eq!(again.get(key.name).0, layers.get(key.name).0, "{}", key.name);
        }
    }
}
