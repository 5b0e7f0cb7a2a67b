//! What a connection needs of its stream, be it TCP or TLS over it.

use std::mem::MaybeUninit;

use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

/// A byte stream that can be closed by a reset.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static {
    /// Makes the coming close a reset (RST): Pycom's firmware does not notice an orderly end.
    fn reset_on_close(&self);

    /// Whether bytes wait in the kernel. The runtime learns of them a moment later; before a close that moment counts.
    fn anything_waiting(&self) -> bool;
}

impl Stream for TcpStream {
    fn reset_on_close(&self) {
        // It fails only if the socket is gone already, and then there is nothing to reset.
        let _ = self.set_zero_linger();
    }

    fn anything_waiting(&self) -> bool {
        let mut byte = [MaybeUninit::uninit()];
        // The socket does not block; an error means that nothing can be read.
        SockRef::from(self).peek(&mut byte).is_ok_and(|count| count > 0)
    }
}

impl Stream for TlsStream<TcpStream> {
    fn reset_on_close(&self) {
        self.get_ref().0.reset_on_close();
    }

    fn anything_waiting(&self) -> bool {
        self.get_ref().0.anything_waiting()
    }
}
