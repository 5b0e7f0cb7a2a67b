//! The task of a connection.

use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use hubward_amqp::connection::ClientSasl;
use tokio::sync::mpsc;
use tokio::time::{Instant, Sleep, sleep_until, timeout};

use super::connection::{Command, Shared};
use super::core::Core;
use super::wire::{Manner, Wire};
use super::{Closed, Stream, Target};

/// How many commands are taken from the queue at a time.
const COMMANDS: usize = 1024;
/// Above this no commands are taken until the hub has read some of it.
const MAX_OUTPUT: usize = 4 * 1024 * 1024;
/// How often overdue things are looked for.
const SWEEP: Duration = Duration::from_secs(1);

/// Drives one connection: without it nothing moves. Dropped, the connection is lost.
pub struct Driver {
    wire: Wire,
    core: Core,
    queue: mpsc::UnboundedReceiver<Command>,
    taken: Vec<Command>,
    shared: Arc<Shared>,
    timer: Pin<Box<Sleep>>,
    sweep: Duration,
    close: Duration,
    /// We wanted the end, which comes then at the latest.
    closing: Option<Instant>,
}

/// Opens AMQP on a stream; the driver is not running yet.
pub(super) async fn open(
    stream: Box<dyn Stream>,
    target: &Target,
    queue: mpsc::UnboundedReceiver<Command>,
    shared: Arc<Shared>,
) -> Result<Driver, Closed> {
    // Microsoft's Node and .NET device SDKs use no SASL layer either: tokens come by CBS.
    let manner = Manner { host_name: target.host_name.clone(), sasl: ClientSasl::None, idle: target.timeouts.idle };
    let (wire, channel, cbs) = Wire::open(stream, manner).await?;
    let timeouts = target.timeouts;
    let shortest = timeouts.attach.min(timeouts.disposition).min(timeouts.close).min(target.lifetime.renew_before);
    let sweep = SWEEP.min(shortest / 8).max(Duration::from_millis(1));
    let core = Core::new(target.clone(), Arc::clone(&shared), channel, cbs);
    let timer = Box::pin(sleep_until(Instant::now()));
    let taken = Vec::new();
    Ok(Driver { wire, core, queue, taken, shared, timer, sweep, close: timeouts.close, closing: None })
}

impl Driver {
    /// Runs until the connection ends, and says why it did.
    pub async fn run(mut self) -> Closed {
        let why = poll_fn(|cx| self.poll_round(cx)).await;
        let why = if self.closing.is_some() { Closed::ByUs } else { why };
        self.shared.closed.send_if_modified(|closed| closed.replace(why.clone()).is_none());
        // Every wait ends now.
        self.queue.close();
        while self.queue.try_recv().is_ok() {}
        self.core.forget();
        // A last word, unless nobody listens.
        if !matches!(why, Closed::Network(_) | Closed::Silent) {
            let goodbye = poll_fn(|cx| match self.wire.poll_write(cx) {
                Poll::Ready(Ok(())) => self.wire.poll_shutdown(cx),
                Poll::Ready(Err(_)) => Poll::Ready(()),
                Poll::Pending => Poll::Pending,
            });
            let _ = timeout(self.close, goodbye).await;
        }
        why
    }

    /// Everything that can be done now: commands, what came, timers, and one write for all of it.
    fn poll_round(&mut self, cx: &mut Context<'_>) -> Poll<Closed> {
        loop {
            self.core.set_now(Instant::now());
            let mut progress = self.poll_commands(cx);
            if let Poll::Ready(read) = self.wire.poll_read(cx) {
                progress = true;
                let events = self.take_events();
                if let Err(error) = events.and(read.map_err(Closed::from)) {
                    return Poll::Ready(error);
                }
            }
            while self.timer.as_mut().poll(cx).is_ready() {
                if let Err(closed) = self.on_timer() {
                    return Poll::Ready(closed);
                }
            }
            if let Poll::Ready(Err(error)) = self.wire.poll_write(cx) {
                return Poll::Ready(error.into());
            }
            if !progress {
                return Poll::Pending;
            }
        }
    }

    fn poll_commands(&mut self, cx: &mut Context<'_>) -> bool {
        if self.wire.amqp.output().len() > MAX_OUTPUT {
            return false;
        }
        match self.queue.poll_recv_many(cx, &mut self.taken, COMMANDS) {
            Poll::Ready(0) => {
                // Nobody holds the connection any more.
                if self.closing.is_none() {
                    self.start_closing();
                    return true;
                }
                false
            }
            Poll::Ready(_) => {
                for command in self.taken.drain(..) {
                    if matches!(command, Command::Close) && self.closing.is_none() {
                        self.closing = Some(Instant::now() + self.close);
                    }
                    self.core.on_command(&mut self.wire.amqp, command);
                }
                if self.taken.capacity() > COMMANDS {
                    self.taken = Vec::new();
                }
                true
            }
            Poll::Pending => false,
        }
    }

    fn start_closing(&mut self) {
        self.closing = Some(Instant::now() + self.close);
        self.core.on_command(&mut self.wire.amqp, Command::Close);
    }

    fn take_events(&mut self) -> Result<(), Closed> {
        while let Some(event) = self.wire.amqp.next_event() {
            self.core.on_event(&mut self.wire.amqp, event)?;
        }
        Ok(())
    }

    fn on_timer(&mut self) -> Result<(), Closed> {
        let now = Instant::now();
        if self.closing.is_some_and(|at| at <= now) {
            return Err(Closed::ByUs);
        }
        self.core.sweep(&mut self.wire.amqp);
        let next = self.wire.amqp.tick(now.into_std());
        if self.wire.amqp.is_closed() && self.closing.is_none() {
            return Err(Closed::Silent);
        }
        let next = next.map_or(now + self.sweep, |at| Instant::from_std(at).min(now + self.sweep));
        self.timer.as_mut().reset(next.max(now + Duration::from_millis(1)));
        Ok(())
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        self.shared.closed.send_if_modified(|closed| {
            let first = closed.is_none();
            closed.get_or_insert(Closed::Dropped);
            first
        });
    }
}

impl fmt::Debug for Driver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Driver").field("core", &self.core).finish_non_exhaustive()
    }
}
