//! The table of settings in `docs/operations.md`, compared with what `config print` and `up --help` know.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::Path;

use clap::CommandFactory;

use super::Cli;
use crate::config::keys::{KEYS, Key, Shape};

const BEGIN: &str = "<!-- settings: make settings-table -->\n";
const END: &str = "<!-- end of settings -->";

/// The flags of `up` that set something, by their key; `config` and what every command has are none.
fn flags() -> BTreeSet<String> {
    let command = Cli::command();
    let up = command.find_subcommand("up").unwrap();
    let longs = up.get_arguments().filter_map(|argument| argument.get_long());
    longs
        .filter(|long| !["config", "json", "help", "version"].contains(long))
        .map(|long| long.replace('-', "_"))
        .collect()
}

fn table() -> String {
    let flags = flags();
    let mut text = "| setting | flag of `up` | environment | default | meaning |\n|---|---|---|---|---|\n".to_owned();
    for key in KEYS {
        let flag = flags.contains(key.name).then(|| format!("`--{}`", key.name.replace('_', "-")));
        let default = if key.default.is_empty() { "-".to_owned() } else { format!("`{}`", key.default) };
        let Key { name, help, .. } = key;
        // Else a reader of Markdown takes <data> for a tag.
        let help = help.replace('<', "&lt;");
        let (flag, variable) = (flag.unwrap_or_else(|| "-".to_owned()), key.variable());
        writeln!(text, "| `{name}` ({}) | {flag} | `{variable}` | {default} | {help} |", shape(key.shape)).unwrap();
    }
    text
}

const fn shape(shape: Shape) -> &'static str {
    match shape {
        Shape::Address => "address",
        Shape::Path => "path",
        Shape::Switch => "true, false",
        Shape::Text => "text",
        Shape::List => "list",
        Shape::Size => "size",
        Shape::Duration => "time",
        Shape::Share => "share",
    }
}

/// When a setting comes or goes: make settings-table
#[test]
fn the_documented_settings_are_those_there_are() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/operations.md");
    let text = std::fs::read_to_string(&file).unwrap();
    let begin = text.find(BEGIN).expect("the table begins with its mark") + BEGIN.len();
    let end = text.find(END).expect("the table ends with its mark");
    if std::env::var_os("SETTINGS").is_some_and(|value| value == "write") {
        return std::fs::write(&file, format!("{}{}{}", &text[..begin], table(), &text[end..])).unwrap();
    }
    assert!(
        text[begin..end] == table(),
        "docs/operations.md: the table of settings is old: make settings-table writes it"
    );
}

#[test]
fn every_flag_of_up_is_a_setting() {
    for flag in flags() {
        assert!(KEYS.iter().any(|key| key.name == flag), "--{flag} is no key of the file");
    }
}
