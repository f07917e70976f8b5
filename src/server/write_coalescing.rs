//! A client's connection that sends a response's head together with the first bytes of its body.
//!
//! Pingora writes the two one after the other. As two packets they wake the client twice and cost
//! one more system call, a large part of the cost of a small response. A head is held for the body
//! that follows at once, and for nothing else. It is sent before the connection waits for the
//! client, when it is flushed, and at the end.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};

use async_trait::async_trait;
use pingora::protocols::{IO, Peek, Shutdown};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};

use crate::server::stream_delegation::describe_as_inner;

/// The first bytes of a response's head (RFC 9112, 4). No part of a body is held, whatever it
/// holds.
const HEAD: &[u8] = b"HTTP/1.";
/// A longer head fills a packet of its own anyway.
const LONGEST: usize = 4096;

/// A connection over `S`.
#[derive(Debug)]
pub(crate) struct CoalescingWriter<S: IO> {
    inner: S,
    /// A head that was not sent yet.
    held: Vec<u8>,
    /// Whether the last write ended a part of the response, so that a head may follow.
    is_between: bool,
}

impl<S: IO> CoalescingWriter<S> {
    /// Holds nothing yet.
    pub(crate) fn new(inner: S) -> Self {
        Self {
            inner,
            held: Vec::new(),
            is_between: true,
        }
    }

    fn poll_held(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.held.is_empty() {
            let written = ready!(Pin::new(&mut self.inner).poll_write(cx, &self.held))?;
            self.left(written)?;
        }
        Poll::Ready(Ok(()))
    }

    /// Removes sent bytes of the head, and frees its memory with the last.
    fn left(&mut self, written: usize) -> io::Result<()> {
        match written {
            0 => return Err(io::ErrorKind::WriteZero.into()),
            written if written >= self.held.len() => self.held = Vec::new(),
            written => drop(self.held.drain(..written)),
        }
        Ok(())
    }
}

impl<S: IO> AsyncWrite for CoalescingWriter<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let may_wait = self.is_between && bytes.starts_with(HEAD) && bytes.len() <= LONGEST;
        self.is_between = false;
        if may_wait {
            self.held = bytes.to_vec();
            return Poll::Ready(Ok(bytes.len()));
        }
        while !self.held.is_empty() {
            let this = &mut *self;
            let both = [IoSlice::new(&this.held), IoSlice::new(bytes)];
            let written = Pin::new(&mut this.inner).poll_write_vectored(cx, &both);
            let written = ready!(written)?;
            let of_head = written.min(this.held.len());
            this.left(of_head)?;
            if written > of_head {
                return Poll::Ready(Ok(written - of_head));
            }
        }
        Pin::new(&mut self.inner).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_held(cx))?;
        self.is_between = true;
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_held(cx))?;
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

impl<S: IO> AsyncRead for CoalescingWriter<S> {
    /// Sends the held head first: a client may wait for it before it sends more.
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        // A client that reads nothing may still send.
        if let Poll::Ready(Err(error)) = self.poll_held(cx) {
            return Poll::Ready(Err(error));
        }
        Pin::new(&mut self.inner).poll_read(cx, buffer)
    }
}

/// Sends the held head if that does not block, as a socket's own buffer does.
impl<S: IO> Drop for CoalescingWriter<S> {
    fn drop(&mut self) {
        let _ = self.poll_held(&mut Context::from_waker(Waker::noop()));
    }
}

#[async_trait]
impl<S: IO> Shutdown for CoalescingWriter<S> {
    async fn shutdown(&mut self) {
        // The client may be gone.
        let _ = self.flush().await;
        Shutdown::shutdown(&mut self.inner).await;
    }
}

describe_as_inner!(CoalescingWriter, inner);

impl<S: IO> Peek for CoalescingWriter<S> {}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, DuplexStream, duplex};

    const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n";

    fn pair(room: usize) -> (CoalescingWriter<DuplexStream>, DuplexStream) {
        let (inner, client) = duplex(room);
        (CoalescingWriter::new(inner), client)
    }

    /// What the client has got so far.
    fn got(client: &mut DuplexStream) -> Vec<u8> {
        let mut bytes = [0; 256];
        let mut buffer = ReadBuf::new(&mut bytes);
        let mut cx = Context::from_waker(Waker::noop());
        match Pin::new(client).poll_read(&mut cx, &mut buffer) {
            Poll::Ready(Ok(())) => buffer.filled().to_vec(),
            _ => Vec::new(),
        }
    }

    #[tokio::test]
    async fn a_head_leaves_with_the_body_that_follows() {
        let (mut stream, mut client) = pair(256);
        stream.write_all(ANSWER).await.unwrap();
        assert_eq!(got(&mut client), b"");
        stream.write_all(b"body").await.unwrap();
        assert_eq!(got(&mut client), [ANSWER, b"body"].concat());
    }

    #[tokio::test]
    async fn a_head_leaves_before_the_connection_waits_for_the_client() {
        let (mut stream, mut client) = pair(256);
        stream.write_all(ANSWER).await.unwrap();
        client.write_all(b"more").await.unwrap();
        assert_eq!(stream.read_u8().await.unwrap(), b'm');
        assert_eq!(got(&mut client), ANSWER);
    }

    #[tokio::test]
    async fn a_head_leaves_when_it_is_flushed_and_at_the_end() {
        let (mut stream, mut client) = pair(256);
        stream.write_all(ANSWER).await.unwrap();
        stream.flush().await.unwrap();
        assert_eq!(got(&mut client), ANSWER);
        stream.write_all(ANSWER).await.unwrap();
        drop(stream);
        assert_eq!(got(&mut client), ANSWER);
    }

    #[tokio::test]
    async fn what_only_looks_like_a_head_is_not_held() {
        let (mut stream, mut client) = pair(256);
        stream.write_all(ANSWER).await.unwrap();
        stream.write_all(b"one ").await.unwrap();
        stream
            .write_all(b"HTTP/1.1 is what this body is about")
            .await
            .unwrap();
        let all = [ANSWER, b"one HTTP/1.1 is what this body is about"].concat();
        assert_eq!(got(&mut client), all);
    }

    #[tokio::test]
    async fn nothing_is_lost_where_the_client_takes_a_few_bytes_at_a_time() {
        let (mut stream, mut client) = pair(3);
        let body = vec![b'x'; 100];
        let writing = async {
            for _ in 0..2 {
                stream.write_all(ANSWER).await.unwrap();
                stream.write_all(&body).await.unwrap();
                stream.flush().await.unwrap();
            }
            AsyncWriteExt::shutdown(&mut stream).await.unwrap();
        };
        let mut all = Vec::new();
        let ((), read) = tokio::join!(writing, client.read_to_end(&mut all));
        read.unwrap();
        assert_eq!(all, [ANSWER, &body, ANSWER, &body].concat());
    }
}
