//! Wrong usage, told as every other error is: one line of what and why, one of what to do.

use std::process::ExitCode;

use clap::error::{ContextKind, ContextValue, ErrorKind};

use super::failure::Failure;

/// Prints help or version on standard output, an error on standard error, and gives the exit code.
#[must_use]
pub fn report(error: &clap::Error, json: bool) -> ExitCode {
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            // A closed pipe is nothing to tell.
            let _ = error.print();
            ExitCode::SUCCESS
        }
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand if !json => {
            let _ = error.print();
            ExitCode::from(super::failure::WRONG_USAGE)
        }
        _ => failure(error).report(json),
    }
}

/// The error as a failure.
#[must_use]
pub fn failure(error: &clap::Error) -> Failure {
    let rendered = error.render().to_string();
    let mut paragraphs = rendered.split("\n\n");
    let first = paragraphs.next().unwrap_or_default();
    let message = first.strip_prefix("error: ").unwrap_or(first).trim().to_owned();
    let command = rendered.lines().find_map(|line| line.strip_prefix("Usage: ")).map(command_of);
    let help = format!("{} --help shows the usage", command.unwrap_or_else(|| "hubward".to_owned()));
    let remedy = match suggestion(error) {
        Some(word) => format!("did you mean {word}? {help}"),
        None => help,
    };
    Failure::usage(message, remedy)
}

/// The nearest word that exists, if the parser knows one.
fn suggestion(error: &clap::Error) -> Option<String> {
    [ContextKind::SuggestedArg, ContextKind::SuggestedSubcommand, ContextKind::SuggestedValue]
        .into_iter()
        .filter_map(|kind| error.get(kind))
        .find_map(|value| match value {
            ContextValue::String(word) => Some(word.clone()),
            ContextValue::Strings(words) => words.first().cloned(),
            _ => None,
        })
}

/// `hubward device add` of `hubward device add [OPTIONS] <NAME>`.
fn command_of(usage: &str) -> String {
    usage.split_whitespace().take_while(|word| !word.starts_with(['[', '<', '-'])).collect::<Vec<_>>().join(" ")
}

/// The two lines of the error.
#[cfg(test)]
pub(super) fn text(error: &clap::Error) -> String {
    failure(error).problem.map(|problem| super::failure::render(&problem, false)).unwrap_or_default()
}
