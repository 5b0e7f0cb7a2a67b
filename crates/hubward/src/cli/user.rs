//! `hubward user …`

use std::path::PathBuf;

use clap::{Args, Subcommand};
use hubward_api::shapes::Page;
use hubward_api::shapes::misc::{NewPassword, NewUser, UserRow};
use reqwest::Method;
use secrecy::ExposeSecret;
use serde_json::Value;

use super::api::{ApiArgs, segment};
use super::{Failure, output, secrets};

/// Users of the console
#[derive(Debug, Args)]
pub struct UserArgs {
    #[command(flatten)]
    api: ApiArgs,
    #[command(subcommand)]
    command: UserCommand,
}

#[derive(Debug, Subcommand)]
enum UserCommand {
    /// Add a user
    #[command(
        after_help = "Examples:\n  hubward user add ada --password-file ada.txt\n  read -rs P; printf %s \"$P\" | hubward user add ada --password-file -"
    )]
    Add(NameAndPassword),
    /// List the users
    #[command(after_help = "Examples:\n  hubward user list")]
    List,
    /// Remove a user
    #[command(after_help = "Examples:\n  hubward user remove ada")]
    Remove {
        /// Their name
        name: String,
    },
    /// Give a user another password
    #[command(after_help = "Examples:\n  hubward user password ada --password-file ada.txt")]
    Password(NameAndPassword),
}

#[derive(Debug, Args)]
struct NameAndPassword {
    /// Their name
    name: String,
    /// File with the password; '-' reads standard input
    #[arg(long, value_name = "FILE")]
    password_file: PathBuf,
}

pub(super) async fn run(args: UserArgs, json: bool) -> Result<(), Failure> {
    let client = args.api.client()?;
    match args.command {
        UserCommand::Add(NameAndPassword { name, password_file }) => {
            let password = secrets::read(&password_file, "password")?.expose_secret().to_owned();
            let made: UserRow = client.send(Method::POST, "/api/v1/users", &NewUser { name, password }).await?;
            if json { output::json(&made) } else { output::line(&format!("user {} added", made.name)) }
        }
        UserCommand::List => {
            let page: Page<UserRow> = client.get("/api/v1/users", &[]).await?;
            if json {
                return output::json(&page.items);
            }
            let rows: Vec<Vec<String>> =
                page.items.into_iter().map(|user| vec![user.name, user.created_at.to_string()]).collect();
            output::table(&["NAME", "CREATED"], &rows, "There are no users.")
        }
        UserCommand::Remove { name } => {
            let done: Value = client.delete(&format!("/api/v1/users/{}", segment(&name)), &[]).await?;
            if json { output::json(&done) } else { output::line(&format!("user {name} removed")) }
        }
        UserCommand::Password(NameAndPassword { name, password_file }) => {
            let password = secrets::read(&password_file, "password")?.expose_secret().to_owned();
            let path = format!("/api/v1/users/{}/password", segment(&name));
            let done: Value = client.send(Method::PUT, &path, &NewPassword { password }).await?;
            if json { output::json(&done) } else { output::line(&format!("{name} has another password")) }
        }
    }
}
