//! `hubward user …`

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use hubward_api::shapes::access::{NewPassword, NewUser, PasswordChanged, UserEdit, UserRemoved, UserRow};
use reqwest::Method;
use secrecy::ExposeSecret;

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

/// What a user may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Role {
    /// See everything but secrets
    Viewer,
    /// Change devices, integrations and dead letters
    Operator,
    /// Everything: users, tokens, keys
    Admin,
}

impl Role {
    fn word(self) -> String {
        match self {
            Self::Viewer => "viewer",
            Self::Operator => "operator",
            Self::Admin => "admin",
        }
        .to_owned()
    }
}

#[derive(Debug, Subcommand)]
enum UserCommand {
    /// Add a user
    #[command(after_help = ADD_EXAMPLES)]
    Add {
        #[command(flatten)]
        who: NameAndPassword,
        /// What they may do: see everything, change things, or everything
        #[arg(long, value_enum, default_value = "viewer")]
        role: Role,
    },
    /// List the users
    #[command(after_help = "Examples:\n  hubward user list")]
    List,
    /// Give a user another role
    #[command(after_help = "Examples:\n  hubward user role ada operator")]
    Role {
        /// Their name
        name: String,
        /// What they may do from now on
        #[arg(value_enum)]
        role: Role,
    },
    /// Remove a user; their sessions end
    #[command(after_help = "Examples:\n  hubward user remove ada")]
    Remove {
        /// Their name
        name: String,
    },
    /// Give a user another password; their sessions end
    #[command(after_help = "Examples:\n  hubward user password ada --password-file ada.txt")]
    Password(NameAndPassword),
}

const ADD_EXAMPLES: &str = "\
Examples:
  hubward user add ada --role admin --password-file ada.txt
  read -rs P; printf %s \"$P\" | hubward user add bob --password-file -";

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
        UserCommand::Add { who: NameAndPassword { name, password_file }, role } => {
            let password = secrets::read(&password_file, "password")?.expose_secret().to_owned();
            let wanted = NewUser { name, password, role: Some(role.word()) };
            let made: UserRow = client.send(Method::POST, "/api/v1/users", &wanted).await?;
            if json { output::json(&made) } else { output::line(&format!("{} {} added", made.role, made.name)) }
        }
        UserCommand::List => {
            let users: Vec<UserRow> = client.all("/api/v1/users").await?;
            if json {
                return output::json(&users);
            }
            let rows: Vec<Vec<String>> = users
                .into_iter()
                .map(|user| {
                    let login = user.last_login_at.map_or_else(|| "never".to_owned(), |time| time.to_string());
                    vec![user.name, user.role, user.created_at.to_string(), login]
                })
                .collect();
            output::table(&["NAME", "ROLE", "CREATED", "LAST LOGIN"], &rows, "There are no users.")
        }
        UserCommand::Role { name, role } => {
            let edit = UserEdit { role: role.word() };
            let changed: UserRow = client.send(Method::PATCH, &path(&name), &edit).await?;
            if json { output::json(&changed) } else { output::line(&format!("{name} is {} now", changed.role)) }
        }
        UserCommand::Remove { name } => {
            let done: UserRemoved = client.delete(&path(&name), &[]).await?;
            if json { output::json(&done) } else { output::line(&format!("user {name} removed")) }
        }
        UserCommand::Password(NameAndPassword { name, password_file }) => {
            let password = secrets::read(&password_file, "password")?.expose_secret().to_owned();
            let path = format!("{}/password", path(&name));
            let done: PasswordChanged = client.send(Method::PUT, &path, &NewPassword { password }).await?;
            if json { output::json(&done) } else { output::line(&format!("{name} has another password")) }
        }
    }
}

fn path(name: &str) -> String {
    format!("/api/v1/users/{}", segment(name))
}
