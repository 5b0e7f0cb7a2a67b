//! How the names of a request's headers were spelled. HTTP does not care, IoT Hub does: an application property keeps
//! the case of its header.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Longer heads are not looked at.
const MAX_HEAD: usize = 64 * 1024;

/// The bytes of a request's head as they came.
#[derive(Debug, Clone, Default)]
pub(crate) struct Spelling(Arc<Mutex<Head>>);

#[derive(Debug, Default)]
struct Head {
    bytes: Vec<u8>,
    /// Where it ends in them, once that has come.
    end: Option<usize>,
}

impl Spelling {
    /// A request is over: what comes next is the next one's head.
    pub(crate) fn next_request(&self) {
        *self.head() = Head::default();
    }

    /// No request comes any more: the connection speaks something else.
    pub(crate) fn no_more(&self) {
        *self.head() = Head { bytes: Vec::new(), end: Some(0) };
    }

    /// The name of a header, given in lower case, as the client spelled it.
    pub(super) fn of(&self, name: &str) -> Option<String> {
        let head = self.head();
        let mut lines = head.bytes[..head.end.unwrap_or(head.bytes.len())].split(|byte| *byte == b'\n');
        let spelled = lines.find_map(|line| {
            let (spelled, rest) = line.split_at_checked(name.len())?;
            (spelled.eq_ignore_ascii_case(name.as_bytes()) && rest.first() == Some(&b':')).then_some(spelled)
        })?;
        String::from_utf8(spelled.to_vec()).ok()
    }

    fn take(&self, bytes: &[u8]) {
        let mut head = self.head();
        if head.end.is_some() || head.bytes.len() >= MAX_HEAD {
            return;
        }
        let from = head.bytes.len().saturating_sub(3);
        head.bytes.extend_from_slice(bytes);
        head.end = head.bytes[from..].windows(4).position(|end| end == b"\r\n\r\n").map(|place| from + place);
        if let Some(end) = head.end {
            head.bytes.truncate(end);
        }
    }

    fn head(&self) -> MutexGuard<'_, Head> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A stream whose head is noted as it is read.
#[derive(Debug)]
pub(crate) struct Noted<S> {
    stream: S,
    spelling: Spelling,
}

impl<S> Noted<S> {
    pub(crate) fn new(stream: S, spelling: Spelling) -> Self {
        Self { stream, spelling }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Noted<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        let before = into.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(context, into);
        self.spelling.take(&into.filled()[before..]);
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Noted<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, from: &[u8]) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, from)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        from: &[std::io::IoSlice<'_>],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, from)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_keeps_the_case_it_came_in() {
        let spelling = Spelling::default();
        spelling.take(b"POST / HTTP/1.1\r\nHost: x\r\nIoTHub-App-Tem");
        spelling.take(b"pAlert: yes\r\n\r\niothub-app-in-body: no");
        assert_eq!(spelling.of("iothub-app-tempalert").as_deref(), Some("IoTHub-App-TempAlert"));
        assert_eq!(spelling.of("iothub-app-in-body"), None);
        spelling.next_request();
        assert_eq!(spelling.of("iothub-app-tempalert"), None);
    }
}
