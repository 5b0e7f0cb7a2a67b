//! What is on disk: the data folder, the journal with its writer thread, the registry.

use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;

use hubward_journal::{Journal, OpenError, Pin, RealFiles};
use hubward_model::{Offset, Problem};
use hubward_registry::{KeySource, Registry, SecretString};
use tokio::sync::oneshot;

use crate::config::Settings;

/// The variable that holds the master key, instead of a file.
pub const MASTER_KEY: &str = "HUBWARD_MASTER_KEY";

/// Journal and registry, opened.
pub struct Storage {
    /// The journal.
    pub journal: Journal,
    /// The registry.
    pub registry: Registry,
    /// Keeps everything until all who read the journal have said what they need of it.
    starting: Option<Pin>,
    committer: JoinHandle<()>,
    committer_ended: oneshot::Receiver<()>,
}

impl Storage {
    /// Opens both, and starts the thread that writes the journal.
    pub async fn open(settings: &Settings) -> Result<Self, Problem> {
        let data = &settings.data;
        let folder = |error: io::Error| {
            Problem::new(
                "data_folder",
                format!("the data folder {} cannot be used: {error}", data.display()),
                "choose a folder that this user may write, with --data FOLDER",
            )
            .with_field("data")
        };
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(data).map_err(folder)?;

        let (journal, committer) = open_journal(settings).await?;
        // Before its writer runs, which also removes what nobody needs.
        let starting = Some(journal.pin("start", Offset::START));
        let (ended, committer_ended) = oneshot::channel();
        let thread = std::thread::Builder::new().name("journal".to_owned());
        let committer = thread
            .spawn(move || {
                committer.run();
                // Nobody hears it during an orderly stop.
                let _ = ended.send(());
            })
            .map_err(folder)?;
        let registry = match open_registry(settings).await {
            Ok(registry) => registry,
            Err(problem) => {
                journal.close();
                join(committer).await;
                return Err(problem);
            }
        };
        Ok(Self { journal, registry, starting, committer, committer_ended })
    }

    /// All who read the journal hold what they need: the rest may go.
    pub fn started(&mut self) {
        self.starting = None;
    }

    /// Waits for the end of the writer thread, which should not end by itself.
    pub async fn committer_ended(&mut self) -> &'static str {
        match (&mut self.committer_ended).await {
            Ok(()) => "it gave up",
            Err(_) => "it panicked",
        }
    }

    /// Commits what is queued and closes both.
    pub async fn close(self) {
        self.journal.close();
        join(self.committer).await;
        self.registry.close().await;
    }
}

async fn join(committer: JoinHandle<()>) {
    let joined = tokio::task::spawn_blocking(move || committer.join()).await;
    if !matches!(joined, Ok(Ok(()))) {
        tracing::error!("the journal's writer panicked");
    }
}

async fn open_journal(settings: &Settings) -> Result<(Journal, hubward_journal::Committer), Problem> {
    let wanted = &settings.journal;
    let options = hubward_journal::Options {
        segment_bytes: wanted.segment,
        limit_bytes: wanted.limit,
        disk_share: wanted.disk_share,
        history: wanted.history,
        commit_delay: wanted.commit_delay,
        ..hubward_journal::Options::new(settings.data.join("journal"))
    };
    let opened = tokio::task::spawn_blocking(move || Journal::open(options, Arc::new(RealFiles))).await;
    match opened {
        Ok(Ok(opened)) => Ok(opened),
        Ok(Err(error)) => Err(journal_problem(&error, &settings.data)),
        Err(error) => Err(Problem::new("journal", error.to_string(), "report this line")),
    }
}

fn journal_problem(error: &OpenError, data: &Path) -> Problem {
    let (code, remedy) = match error {
        OpenError::Locked { .. } => {
            ("data_folder_in_use", "stop that process, or give this one its own folder with --data FOLDER".to_owned())
        }
        OpenError::NewerFormat { .. } => {
            ("newer_format", "use the newer hubward that wrote it, or another --data FOLDER".to_owned())
        }
        OpenError::Foreign { .. } => ("foreign_file", "move the file away, or choose another --data FOLDER".to_owned()),
        OpenError::Io { .. } => ("journal", format!("look at {} and its disk", data.display())),
    };
    Problem::new(code, error.to_string(), remedy)
}

async fn open_registry(settings: &Settings) -> Result<Registry, Problem> {
    let keys = KeySource { text: std::env::var(MASTER_KEY).ok().map(SecretString::from), file: settings.key_file() };
    Registry::open(&settings.data.join("registry.db"), keys).await.map_err(|error| error.problem())
}
