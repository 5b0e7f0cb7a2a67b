//! Bytes of a connection on their way, for endpoints that do several things at once. Each of these may be given up at any
//! moment without losing a byte.

use std::io;
use std::pin::Pin;

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};

/// What is read at once.
const READ_BYTES: usize = 16 * 1024;

/// Writes some of `output`; when there is none, sees that all that was written is on its way, and answers 0.
pub(crate) async fn push(to: &mut (impl AsyncWrite + Unpin), output: &[u8]) -> io::Result<usize> {
    if output.is_empty() {
        return to.flush().await.map(|()| 0);
    }
    match to.write(output).await? {
        0 => Err(io::ErrorKind::WriteZero.into()),
        count => Ok(count),
    }
}

/// Reads what is there. The buffer it is read into lives only while it is read into.
pub(crate) async fn read_some(from: &mut (impl AsyncRead + Unpin), into: &mut BytesMut) -> io::Result<usize> {
    std::future::poll_fn(|context| {
        let mut space = [0u8; READ_BYTES];
        let mut read = ReadBuf::new(&mut space);
        std::task::ready!(Pin::new(&mut *from).poll_read(context, &mut read))?;
        into.extend_from_slice(read.filled());
        std::task::Poll::Ready(Ok(read.filled().len()))
    })
    .await
}
