//! Admin commands, run as a user would, and their JSON.

use std::path::PathBuf;
use std::process::{Output, Stdio};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::process::binary;

/// Runs admin commands against the server of one data folder.
#[derive(Debug, Clone)]
pub struct Cli {
    data: PathBuf,
}

impl Cli {
    /// Commands for the server whose data folder this is.
    pub fn new(data: PathBuf) -> Self {
        Self { data }
    }

    /// Runs a command with `--json` and reads its answer; a command that fails is an error with all it said.
    pub async fn json(&self, args: &[&str]) -> Result<Value> {
        let output = self.output(args, None).await?;
        if !output.status.success() {
            bail!("hubward {args:?}: {}: {}", output.status, String::from_utf8_lossy(&output.stderr));
        }
        let text = String::from_utf8(output.stdout).context("the answer is text")?;
        if text.trim().is_empty() {
            return Ok(Value::Null);
        }
        serde_json::from_str(&text).with_context(|| format!("hubward {args:?} answered no JSON: {text}"))
    }

    /// Runs a command that must fail with `--json`, and returns its exit code and problem.
    pub async fn problem(&self, args: &[&str]) -> Result<(i32, Value)> {
        let output = self.output(args, None).await?;
        if output.status.success() {
            bail!("hubward {args:?} succeeded: {}", String::from_utf8_lossy(&output.stdout));
        }
        let text = String::from_utf8_lossy(&output.stderr);
        let problem = text
            .lines()
            .rev()
            .find_map(|line| serde_json::from_str(line).ok())
            .or_else(|| serde_json::from_str(&text).ok())
            .with_context(|| format!("hubward {args:?} said no problem: {text}"))?;
        Ok((output.status.code().unwrap_or(-1), problem))
    }

    /// Runs a command with `--json --data` and, if given, text on its standard input.
    pub async fn output(&self, args: &[&str], input: Option<&str>) -> Result<Output> {
        let mut command = tokio::process::Command::new(binary());
        command
            .args(args)
            .arg("--json")
            .arg("--data")
            .arg(&self.data)
            .stdin(if input.is_some() { Stdio::piped() } else { Stdio::null() })
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        let mut child = command.spawn().with_context(|| format!("run hubward {args:?}"))?;
        if let Some(text) = input {
            use tokio::io::AsyncWriteExt;
            let mut stdin = child.stdin.take().context("it has a standard input")?;
            stdin.write_all(text.as_bytes()).await.context("write to it")?;
        }
        let run = tokio::time::timeout(crate::process::PATIENCE, child.wait_with_output());
        run.await.with_context(|| format!("hubward {args:?} did not end"))?.context("wait for it")
    }

    /// Adds an ordinary device and returns its id and password.
    pub async fn add_device(&self, name: &str) -> Result<(String, String)> {
        let added = self.json(&["device", "add", name]).await?;
        let text =
            |key: &str| added[key].as_str().map(str::to_owned).with_context(|| format!("device add gives {key}"));
        Ok((text("id")?, text("password")?))
    }

    /// Adds a Pycom device and returns its id and token.
    pub async fn add_pycom(&self, name: &str) -> Result<(String, String)> {
        let added = self.json(&["device", "add", name, "--kind", "pycom"]).await?;
        let text =
            |key: &str| added[key].as_str().map(str::to_owned).with_context(|| format!("device add gives {key}"));
        Ok((text("id")?, text("token")?))
    }
}
