//! Which layer says what: defaults, file, environment, flags. A key that nobody knows is an error.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use hubward_model::Problem;

use super::keys::{self, KEYS, Key, Shape};

/// The file that is read when no `--config` is given and it exists.
pub const SYSTEM_FILE: &str = "/etc/hubward/hubward.toml";

/// Variables that start like settings and are none: they belong to the commands that talk to a server, and to the key.
const OTHER_VARIABLES: &[&str] =
    &["HUBWARD_CA", "HUBWARD_CONFIG", "HUBWARD_URL", "HUBWARD_TOKEN", "HUBWARD_MASTER_KEY"];

/// Where a value came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// Nobody said anything.
    Default,
    /// A file.
    File(PathBuf),
    /// An environment variable.
    Variable(String),
    /// A flag of the command line.
    Flag(String),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Variable(name) => write!(f, "{name}"),
            Self::Flag(flag) => write!(f, "{flag}"),
        }
    }
}

/// A flag that was given: the name of its key, and its values as text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Flag {
    /// The key it sets.
    pub key: &'static str,
    /// What was written, one entry for each time.
    pub values: Vec<String>,
}

/// Why the settings cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("the configuration file {path} cannot be read: {error}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// It is not TOML.
    #[error("the configuration file {path} is not TOML: {error}")]
    NotToml {
        /// The file.
        path: PathBuf,
        /// Where and why.
        error: String,
    },
    /// A key that nobody knows.
    #[error("{key:?} in {path} is no setting")]
    UnknownKey {
        /// The key, with its table.
        key: String,
        /// The file.
        path: PathBuf,
        /// The nearest that exists.
        nearest: Option<&'static str>,
    },
    /// A variable that nobody knows.
    #[error("the environment variable {variable} is no setting")]
    UnknownVariable {
        /// The variable.
        variable: String,
        /// The nearest that exists.
        nearest: Option<String>,
    },
    /// A value that does not fit its key.
    #[error("{key} from {origin}: {why}")]
    BadValue {
        /// The key.
        key: &'static str,
        /// Who said so.
        origin: Origin,
        /// What is wrong with it.
        why: String,
    },
    /// A value that goes with another one, which nobody gave.
    #[error("{key} from {origin} says nothing alone: {needs} is not set")]
    Alone {
        /// The key.
        key: &'static str,
        /// Who said so.
        origin: Origin,
        /// The key that is missing.
        needs: &'static str,
    },
}

impl ConfigError {
    /// The same with code and remedy.
    #[must_use]
    pub fn problem(&self) -> Problem {
        let all = "'hubward config print' shows all settings".to_owned();
        let (code, remedy, field) = match self {
            Self::Unreadable { .. } => ("config_unreadable", "name a file you may read with --config".to_owned(), None),
            Self::NotToml { .. } => ("config_syntax", "write it as key = \"value\" lines (TOML)".to_owned(), None),
            Self::UnknownKey { key, nearest, .. } => {
                ("unknown_key", nearest.map_or(all, |n| format!("did you mean {n:?}?")), Some(key.clone()))
            }
            Self::UnknownVariable { variable, nearest } => {
                ("unknown_key", nearest.as_ref().map_or(all, |n| format!("did you mean {n}?")), Some(variable.clone()))
            }
            Self::BadValue { key, .. } => ("bad_value", format!("correct {key}"), Some((*key).to_owned())),
            Self::Alone { key, needs, .. } => (
                "missing_setting",
                format!(
                    "set {needs} too (or HUBWARD_{}), or leave {key} out",
                    needs.replace('.', "_").to_ascii_uppercase()
                ),
                Some((*needs).to_owned()),
            ),
        };
        let problem = Problem::new(code, self.to_string(), remedy);
        match field {
            Some(field) => problem.with_field(&field),
            None => problem,
        }
    }
}

/// Every setting with its text and its origin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layers {
    values: BTreeMap<&'static str, (Vec<String>, Origin)>,
}

impl Layers {
    /// Reads all layers. `file` is what `--config` or `HUBWARD_CONFIG` named; without it the system's file is read if it is there.
    pub fn read(
        file: Option<&Path>,
        environment: impl Iterator<Item = (String, String)>,
        flags: &[Flag],
    ) -> Result<Self, ConfigError> {
        let system = Path::new(SYSTEM_FILE);
        let text = match file {
            Some(path) => Some((path, read_file(path)?)),
            None if system.exists() => Some((system, read_file(system)?)),
            None => None,
        };
        Self::merge(text.as_ref().map(|(path, text)| (*path, text.as_str())), environment, flags)
    }

    /// The same from a text that was read already.
    pub fn merge(
        file: Option<(&Path, &str)>,
        environment: impl Iterator<Item = (String, String)>,
        flags: &[Flag],
    ) -> Result<Self, ConfigError> {
        let mut layers = Self { values: BTreeMap::new() };
        for key in KEYS {
            let value = if key.default.is_empty() { Vec::new() } else { vec![key.default.to_owned()] };
            layers.values.insert(key.name, (value, Origin::Default));
        }
        if let Some((path, text)) = file {
            layers.add_file(path, text)?;
        }
        layers.add_environment(environment)?;
        for flag in flags {
            let origin = Origin::Flag(format!("--{}", flag.key.replace('_', "-")));
            layers.values.insert(flag.key, (flag.values.clone(), origin));
        }
        Ok(layers)
    }

    /// The texts of a setting (several only for lists) and who said so.
    #[must_use]
    pub fn get(&self, name: &str) -> (&[String], &Origin) {
        match self.values.get(name) {
            Some((values, origin)) => (values, origin),
            None => (&[], &Origin::Default),
        }
    }

    fn add_file(&mut self, path: &Path, text: &str) -> Result<(), ConfigError> {
        let table: toml::Table = text.parse().map_err(|error: toml::de::Error| ConfigError::NotToml {
            path: path.to_owned(),
            error: error.to_string(),
        })?;
        for (name, value) in table {
            match value {
                toml::Value::Table(inner) => {
                    for (inner_name, value) in inner {
                        self.add_file_value(path, &format!("{name}.{inner_name}"), &value)?;
                    }
                }
                value => self.add_file_value(path, &name, &value)?,
            }
        }
        Ok(())
    }

    fn add_file_value(&mut self, path: &Path, name: &str, value: &toml::Value) -> Result<(), ConfigError> {
        let Some(key) = keys::find(name) else {
            let nearest = keys::nearest(name).map(|key| key.name);
            return Err(ConfigError::UnknownKey { key: name.to_owned(), path: path.to_owned(), nearest });
        };
        let origin = Origin::File(path.to_owned());
        let values = file_texts(key, value).map_err(|why| ConfigError::BadValue {
            key: key.name,
            origin: origin.clone(),
            why,
        })?;
        self.values.insert(key.name, (values, origin));
        Ok(())
    }

    fn add_environment(&mut self, environment: impl Iterator<Item = (String, String)>) -> Result<(), ConfigError> {
        for (variable, value) in environment {
            if !variable.starts_with("HUBWARD_") || OTHER_VARIABLES.contains(&variable.as_str()) {
                continue;
            }
            let Some(key) = KEYS.iter().find(|key| key.variable() == variable) else {
                let nearest = keys::nearest(&variable["HUBWARD_".len()..]).map(Key::variable);
                return Err(ConfigError::UnknownVariable { variable, nearest });
            };
            let values = match key.shape {
                Shape::List => value.split(',').map(|v| v.trim().to_owned()).filter(|v| !v.is_empty()).collect(),
                _ => vec![value],
            };
            self.values.insert(key.name, (values, Origin::Variable(variable)));
        }
        Ok(())
    }
}

fn read_file(path: &Path) -> Result<String, ConfigError> {
    std::fs::read_to_string(path).map_err(|error| ConfigError::Unreadable { path: path.to_owned(), error })
}

/// The texts of a value in the file.
fn file_texts(key: &Key, value: &toml::Value) -> Result<Vec<String>, String> {
    let text = |value: &toml::Value| match value {
        toml::Value::String(text) => Ok(text.clone()),
        toml::Value::Boolean(switch) => Ok(switch.to_string()),
        toml::Value::Integer(number) => Ok(number.to_string()),
        toml::Value::Float(number) => Ok(number.to_string()),
        other => Err(format!("a {} does not fit here", other.type_str())),
    };
    match (key.shape, value) {
        (Shape::List, toml::Value::Array(values)) => values.iter().map(text).collect(),
        (_, toml::Value::Array(_)) => Err("a list does not fit here: give one value".to_owned()),
        (_, value) => Ok(vec![text(value)?]),
    }
}

#[cfg(test)]
mod tests;
