//! SIGTERM and SIGINT: the first asks for an orderly stop, the second ends the process at once.

use std::io;
use std::process;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// Exit code of a process that was told to stop twice.
const IMMEDIATE: i32 = 130;

/// Watches for signals from now on.
pub fn watch() -> io::Result<StopSignals> {
    let (terminate, interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let stop = CancellationToken::new();
    let mut task = JoinSet::new();
    task.spawn(listen(terminate, interrupt, stop.clone()));
    Ok(StopSignals { stop, _task: task })
}

/// The watch; dropped, signals do nothing more.
pub struct StopSignals {
    stop: CancellationToken,
    _task: JoinSet<()>,
}

impl StopSignals {
    /// Waits for the first signal.
    pub fn first(&mut self) -> impl Future<Output = ()> + use<> {
        self.stop.clone().cancelled_owned()
    }

    /// The token that the first signal cancels.
    #[must_use]
    pub fn token(&self) -> CancellationToken {
        self.stop.clone()
    }
}

async fn listen(mut terminate: Signal, mut interrupt: Signal, stop: CancellationToken) {
    let mut next = async || {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    };
    next().await;
    stop.cancel();
    next().await;
    #[allow(clippy::disallowed_methods, reason = "told twice: the user wants the end, not the order")]
    let end = process::exit;
    eprintln!("told to stop a second time: ending at once");
    end(IMMEDIATE);
}
