//! The `hubward` binary as a child process.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// How long anything that should happen soon may take before a test gives up on it.
pub const PATIENCE: Duration = Duration::from_secs(60);
/// How often a file or a process is looked at while waiting for it.
const LOOK: Duration = Duration::from_millis(10);

/// The binary under test: `TEST_HUBWARD`, else the one beside the test's own, built if it is not there. It is built with the
/// features that `cargo test` chose for the whole workspace: a selection of the binary alone has others, and compiles most
/// of it a second time. To name a test beside it adds those of tests.
pub fn binary() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| {
        if let Some(path) = std::env::var_os("TEST_HUBWARD") {
            return path.into();
        }
        // target/debug/deps/test-1234 and target/debug/program → target/debug/hubward
        let file = std::env::current_exe().expect("a test knows its own file");
        let folder = file.parent().expect("a file lies in a folder");
        let folder = if folder.ends_with("deps") { folder.parent().unwrap_or(folder) } else { folder };
        let same_features = ["build", "--quiet", "--workspace", "--bin", "hubward", "--test", "layout"];
        let built = Command::new(env!("CARGO")).args(same_features).status().expect("cargo runs");
        assert!(built.success(), "the hubward binary builds");
        folder.join("hubward")
    })
}

/// What a process is started with, beside its arguments.
#[derive(Debug, Clone, Default)]
pub struct Surroundings {
    /// A command that starts it in surroundings of its own: it gets binary and arguments at its end, and must become them.
    pub before: Vec<String>,
    /// More variables of its environment.
    pub variables: Vec<(String, String)>,
}

/// A child process that is killed when it is dropped.
pub struct Process {
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts the binary with `args`; what it prints and logs goes to `log`.
    pub fn start(args: &[String], log: &Path) -> Result<Self> {
        Self::start_in(&Surroundings::default(), args, log)
    }

    /// The same in these surroundings.
    pub fn start_in(surroundings: &Surroundings, args: &[String], log: &Path) -> Result<Self> {
        let file = std::fs::OpenOptions::new().create(true).append(true).open(log).context("open the log")?;
        let mut words = surroundings.before.iter().map(OsString::from).chain([binary().into()]);
        let mut command = Command::new(words.next().context("there is a program")?);
        // What is there is for the tests: a server refuses variables of its name that it does not know.
        let ours = std::env::vars_os().map(|(name, _)| name);
        for name in ours.filter(|name| name.to_string_lossy().starts_with("HUBWARD_")) {
            command.env_remove(name);
        }
        let child = command
            .args(words)
            .args(args)
            .envs(surroundings.variables.clone())
            .stdin(Stdio::null())
            .stdout(file.try_clone().context("share the log")?)
            .stderr(file)
            .spawn()
            .with_context(|| format!("start {}", binary().display()))?;
        Ok(Self { child, log: log.to_owned() })
    }

    /// Waits until `path` exists, or says how the process ended before that.
    pub async fn wait_for_file(&mut self, path: &Path) -> Result<String> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Ok(text) = std::fs::read_to_string(path) {
                return Ok(text);
            }
            if let Some(status) = self.child.try_wait().context("look at the process")? {
                bail!("the process ended with {status} before {} was there:\n{}", path.display(), self.log_text());
            }
            if Instant::now() > deadline {
                bail!("{} did not appear:\n{}", path.display(), self.log_text());
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// The process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Kills it as a power cut would (SIGKILL) and waits for its end.
    pub fn kill(mut self) -> Result<()> {
        self.child.kill().context("kill")?;
        self.child.wait().context("wait for the killed process")?;
        Ok(())
    }

    /// Asks it to stop (SIGTERM).
    pub fn ask_to_stop(&self) -> Result<()> {
        let status = Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status().context("run kill")?;
        if !status.success() {
            bail!("kill -TERM {} failed with {status}", self.child.id());
        }
        Ok(())
    }

    /// Waits for its end.
    pub async fn ended(&mut self) -> Result<ExitStatus> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().context("look at the process")? {
                return Ok(status);
            }
            if Instant::now() > deadline {
                bail!("the process did not end:\n{}", self.log_text());
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// What it printed so far (the end of it).
    pub fn log_text(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended already; there is nobody left to tell either way.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
