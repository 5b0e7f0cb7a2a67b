//! What can be set, and the limits that cannot.

use std::time::Duration;

/// Settings of a broker.
#[derive(Debug, Clone)]
pub struct Options {
    /// How many unacknowledged PUBLISH of quality of service 1 and 2 a client may have (announced to 5.0 clients).
    pub receive_maximum: u16,
    /// The largest packet taken.
    pub max_packet_bytes: u32,
    /// How many bytes of one connection may be appended and not durable.
    pub connection_bytes: usize,
    /// How many clients may be connected.
    pub max_connections: usize,
    /// How long a session may outlive its connection; what 3.1.1 clients without clean session get.
    pub max_session_expiry: Duration,
    /// How long reading may pause because a limit is reached; half the keepalive if that is less.
    pub pause_limit: Duration,
    /// How long a connection that we close may take to be read and committed.
    pub drain_limit: Duration,
    /// How long a client may take to say CONNECT.
    pub connect_timeout: Duration,
    /// How long the authenticator may take.
    pub auth_timeout: Duration,
    /// How long a client may leave what we sent unread before it is given up.
    pub write_timeout: Duration,
    /// How many retained messages are kept.
    pub max_retained: usize,
    /// How many bytes of retained messages are kept.
    pub max_retained_bytes: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            receive_maximum: 1_024,
            max_packet_bytes: 1024 * 1024,
            connection_bytes: 2 * 1024 * 1024,
            max_connections: 100_000,
            max_session_expiry: Duration::from_secs(7 * 24 * 3600),
            pause_limit: Duration::from_secs(60),
            drain_limit: Duration::from_secs(30),
            connect_timeout: Duration::from_secs(10),
            auth_timeout: Duration::from_secs(10),
            write_timeout: Duration::from_secs(60),
            max_retained: 100_000,
            max_retained_bytes: 64 * 1024 * 1024,
        }
    }
}

/// Size of a read buffer, lent by the pool while there is something to read.
pub(crate) const READ_BUFFER: usize = 32 * 1024;
/// How many read buffers the pool keeps for later.
pub(crate) const POOLED_BUFFERS: usize = 64;
/// Bytes waiting to be written at which nothing more is read or delivered.
pub(crate) const MAX_OUTPUT: usize = 256 * 1024;
/// Filters a session may have.
pub(crate) const MAX_SUBSCRIPTIONS: usize = 256;
/// Bytes that the filters of a session may have.
pub(crate) const MAX_SUBSCRIPTION_BYTES: usize = 32 * 1024;
/// Sessions an owner may have; the oldest one without a connection goes first.
pub(crate) const MAX_SESSIONS_PER_OWNER: usize = 64;
/// Unacknowledged messages we send to one client, if its receive maximum allows so many.
pub(crate) const MAX_IN_FLIGHT: usize = 64;
/// Messages that wait for one connection in memory; what is more is read from the journal later.
pub(crate) const MAX_INBOX: usize = 512;
/// The same in bytes.
pub(crate) const MAX_INBOX_BYTES: usize = 1024 * 1024;
/// Messages of shared subscriptions kept for a member that is not connected.
pub(crate) const MAX_SHARED_PENDING: usize = 10_000;
/// Quality of service 2 packet ids of one session that may be unreleased.
pub(crate) const MAX_UNRELEASED: usize = 8_192;
/// Connections that catch up from the journal at the same time.
pub(crate) const MAX_CATCH_UP: usize = 8;
/// Wills that wait for their delay.
pub(crate) const MAX_DELAYED_WILLS: usize = 100_000;
/// How long a refused client is ignored before the reset, so that it can read the refusal.
pub(crate) const REFUSED_LINGER: Duration = Duration::from_secs(1);
/// How long a connection that is closed by us and never stops sending is read on, before it is cut where nothing waits.
pub(crate) const BUSY_LINGER: Duration = Duration::from_secs(2);
/// How long to wait before asking a journal again that is full for another reason than its queue.
pub(crate) const FULL_RETRY: Duration = Duration::from_millis(100);
/// Events kept for a slow listener.
pub(crate) const EVENT_BACKLOG: usize = 1_024;
/// How long the journal may not know what a persistent session sent at quality of service 1.
pub(crate) const SAVE_EVERY: Duration = Duration::from_millis(500);
