//! A refusal explained.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What was refused, why, and what to do about it. The API answers with it, the CLI prints it in two lines.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// Stable word that scripts may compare, for example `name_taken`.
    pub code: String,
    /// What and why: lower case, names the thing, never a secret.
    pub message: String,
    /// What to do.
    pub remedy: String,
    /// The field of the request that is to blame, if one is.
    #[serde(default)]
    pub field: Option<String>,
}

impl Problem {
    /// A problem that no single field is to blame for.
    pub fn new(code: &str, message: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { code: code.to_owned(), message: message.into(), remedy: remedy.into(), field: None }
    }

    /// The same problem, blamed on `field`.
    #[must_use]
    pub fn with_field(mut self, field: &str) -> Self {
        self.field = Some(field.to_owned());
        self
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Problem {}
