//! The task of a device's connection.

use std::collections::VecDeque;
use std::fmt;
use std::time::Duration;

use hubward_mqtt::client::Event;
use hubward_mqtt::protocol::{PacketId, Publish};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, sleep_until, timeout};

use super::open::{KEEP_ALIVE, Mqtt, Opener, closed};
use super::sender::{Command, Sender};
use crate::link::{AttachError, Closed, DetachError, NotSent, OpenError, SendError};
use crate::sas::SasToken;

/// A PING leaves after half the keep-alive without anything else.
const PING_AFTER: Duration = Duration::from_secs(KEEP_ALIVE as u64 / 2);
/// Renewals of devices that came at the same time are spread over this part of a token's life.
const SPREAD: u32 = 10;

/// Drives one device's connection: without it nothing moves. Dropped, the connection is lost.
pub struct Driver {
    opener: Box<Opener>,
    /// None only while a new connection is opened, or after the goodbye.
    client: Option<Mqtt>,
    commands: mpsc::UnboundedReceiver<Command>,
    closed: watch::Sender<Option<Closed>>,
    /// Calls whose messages were sent and not all acknowledged, in order.
    under_way: VecDeque<Batch>,
    last_sent: Instant,
    renew_at: Instant,
}

/// The messages of one call.
#[derive(Debug)]
struct Batch {
    waiting: VecDeque<(PacketId, bool)>,
    /// How many were acknowledged, from the first on without a hole.
    accepted: usize,
    deadline: Instant,
    reply: oneshot::Sender<Result<(), NotSent>>,
}

/// Why the connection is at its end.
enum End {
    /// We were asked to close it; who asked wants to know how that went.
    Wanted(Option<oneshot::Sender<Result<(), DetachError>>>),
    Lost(Closed),
    /// A message was not acknowledged in time.
    Unanswered,
}

pub(super) fn start(opener: Opener, client: Mqtt, token: &SasToken) -> (Sender, Driver) {
    let (commands, queue) = mpsc::unbounded_channel();
    let closed = watch::Sender::new(None);
    let sender = Sender::new(opener.device_id.clone(), commands, closed.subscribe());
    let renew_at = renewal(&opener, token);
    let driver = Driver {
        opener: Box::new(opener),
        client: Some(client),
        commands: queue,
        closed,
        under_way: VecDeque::new(),
        last_sent: Instant::now(),
        renew_at,
    };
    (sender, driver)
}

impl Driver {
    /// Runs until the connection ends, and says why it did.
    pub async fn run(mut self) -> Closed {
        let end = self.drive().await;
        self.commands.close();
        let why = match end {
            End::Wanted(reply) => {
                let left = self.leave().await;
                if let Some(reply) = reply {
                    // Who asked may have gone away.
                    let _ = reply.send(left);
                }
                Closed::ByUs
            }
            End::Lost(why) => why,
            End::Unanswered => Closed::Silent,
        };
        self.say(why.clone());
        for Batch { accepted, reply, .. } in self.under_way.drain(..) {
            let _ = reply.send(Err(NotSent { accepted, error: lost(&why) }));
        }
        why
    }

    /// Tells how the connection ended; the first word counts.
    fn say(&self, why: Closed) {
        self.closed.send_if_modified(|closed| {
            let first = closed.is_none();
            closed.get_or_insert(why);
            first
        });
    }

    async fn drive(&mut self) -> End {
        loop {
            let due = self.renew_at <= Instant::now();
            if due && self.under_way.is_empty() {
                // The old connection is gone before the new one comes: a device is never there twice.
                let _ = self.leave().await;
                match self.opener.open().await {
                    Ok((client, token)) => {
                        self.client = Some(client);
                        self.last_sent = Instant::now();
                        self.renew_at = renewal(&self.opener, &token);
                    }
                    Err(error) => return End::Lost(not_renewed(error)),
                }
                continue;
            }
            let Some(client) = &mut self.client else { return End::Lost(Closed::Dropped) };
            let ping_at = self.last_sent + PING_AFTER;
            let renew_at = if due { ping_at } else { self.renew_at };
            let deadline = self.under_way.front().map_or(ping_at, |batch| batch.deadline);
            let woken = tokio::select! {
                event = client.next() => match event {
                    Ok(Event::Acknowledged { packet_id, .. }) => Woken::Acknowledged(packet_id),
                    Ok(_) => continue,
                    Err(error) => return End::Lost(closed(&error)),
                },
                // What comes while a renewal is due waits for the new connection.
                command = self.commands.recv(), if !due => Woken::Command(command),
                () = sleep_until(ping_at.min(renew_at).min(deadline)) => Woken::Timer,
            };
            match woken {
                Woken::Acknowledged(id) => self.acknowledged(id),
                Woken::Command(Some(Command::Send { messages, reply })) => {
                    if let Err(end) = self.send(messages, reply).await {
                        return end;
                    }
                }
                Woken::Command(Some(Command::Close { reply })) => return End::Wanted(Some(reply)),
                Woken::Command(None) => return End::Wanted(None),
                Woken::Timer => {
                    if let Err(end) = self.on_timer().await {
                        return end;
                    }
                }
            }
        }
    }

    async fn send(&mut self, messages: Vec<Publish>, reply: oneshot::Sender<Result<(), NotSent>>) -> Result<(), End> {
        let within = self.opener.target().timeouts.disposition;
        let now = Instant::now();
        self.last_sent = now;
        let batch =
            Batch { waiting: VecDeque::with_capacity(messages.len()), accepted: 0, deadline: now + within, reply };
        self.under_way.push_back(batch);
        let Some(client) = &mut self.client else { return Err(End::Lost(Closed::Dropped)) };
        for message in messages {
            // It writes when much is queued, and may so have to wait for the hub to read.
            let sent = timeout(within, client.send(message)).await.map_err(|_| End::Unanswered)?;
            match (sent, self.under_way.back_mut()) {
                (Ok(Some(id)), Some(batch)) => batch.waiting.push_back((id, false)),
                (Ok(_), _) => {}
                (Err(error), _) => return Err(End::Lost(closed(&error))),
            }
        }
        Ok(())
    }

    fn acknowledged(&mut self, id: PacketId) {
        for batch in &mut self.under_way {
            let Some(found) = batch.waiting.iter_mut().find(|(waiting, _)| *waiting == id) else { continue };
            found.1 = true;
            while batch.waiting.pop_front_if(|(_, acknowledged)| *acknowledged).is_some() {
                batch.accepted += 1;
            }
            break;
        }
        while let Some(done) = self.under_way.pop_front_if(|batch| batch.waiting.is_empty()) {
            let _ = done.reply.send(Ok(()));
        }
    }

    async fn on_timer(&mut self) -> Result<(), End> {
        let now = Instant::now();
        if self.under_way.front().is_some_and(|batch| batch.deadline <= now) {
            return Err(End::Unanswered);
        }
        if self.last_sent + PING_AFTER <= now {
            self.last_sent = now;
            let Some(client) = &mut self.client else { return Err(End::Lost(Closed::Dropped)) };
            match timeout(self.opener.target().timeouts.idle, client.ping()).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => return Err(End::Lost(closed(&error))),
                Err(_) => return Err(End::Lost(Closed::Silent)),
            }
        }
        Ok(())
    }

    /// Says goodbye and waits until the hub has closed.
    async fn leave(&mut self) -> Result<(), DetachError> {
        let Some(client) = self.client.take() else { return Ok(()) };
        match timeout(self.opener.target().timeouts.close, client.leave()).await {
            // A connection that breaks while we leave is as gone as one that is closed.
            Ok(_) => Ok(()),
            Err(_) => Err(DetachError::Silent),
        }
    }
}

enum Woken {
    Acknowledged(PacketId),
    Command(Option<Command>),
    Timer,
}

impl Drop for Driver {
    fn drop(&mut self) {
        self.say(Closed::Dropped);
    }
}

impl fmt::Debug for Driver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Driver").field("device_id", &self.opener.device_id).finish_non_exhaustive()
    }
}

/// When to connect with a new token: somewhat early, and not all devices at once.
fn renewal(opener: &Opener, token: &SasToken) -> Instant {
    let due = opener.tokens.renew_in(token);
    let id = opener.device_id.bytes().fold(0u32, |sum, byte| sum.wrapping_mul(31).wrapping_add(u32::from(byte)));
    Instant::now() + due - due / SPREAD / 64 * (id % 64)
}

/// The old connection is closed, and there is no new one.
fn not_renewed(error: AttachError) -> Closed {
    match error {
        AttachError::Refused(refusal) => Closed::ByHub(Some(refusal)),
        AttachError::NotOpened(OpenError::Ended(why)) | AttachError::ConnectionLost(why) => why,
        other => Closed::Network(format!("no connection with a new token: {other}")),
    }
}

fn lost(why: &Closed) -> SendError {
    match why {
        Closed::Silent => SendError::NoDisposition,
        Closed::ByHub(Some(refusal)) => SendError::LinkLost(refusal.clone()),
        other => SendError::ConnectionLost(other.clone()),
    }
}
