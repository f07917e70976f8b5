//! Limits how long a client may take for the head of a request.
//!
//! Pingora's own timeout restarts with each byte, so that a client that sends one now and then
//! keeps its connection for days. Here a head is timed as a whole, from its first byte on. Idle
//! connections and bodies have other timeouts. An HTTP/2 connection carries many requests at once,
//! and its heads are not timed.
//!
//! If clients may start HTTP/2 without TLS, the first bytes are read ahead to recognize it.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use async_trait::async_trait;
use pingora::protocols::{ALPN, IO, Peek, Shutdown};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep_until};

use crate::server::absolute_target;
use crate::server::stream_delegation::describe_as_inner;

/// The first bytes of HTTP/2 (RFC 9113, 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// A longer head with an absolute target stays as it came.
const LONGEST_HELD: usize = 64 * 1024;

tokio::task_local! {
    /// Whether the request's head is complete, on the connection that this task serves.
    static HAS_COME: Arc<AtomicBool>;
}

/// Marks a request's head as complete: what the client sends until this is dropped is its body.
#[derive(Debug)]
pub(crate) struct HeaderGuard(Option<Arc<AtomicBool>>);

impl HeaderGuard {
    /// Marks it on the connection that this task serves.
    pub(crate) fn now() -> Self {
        let has_come = HAS_COME.try_with(Arc::clone).ok();
        if let Some(has_come) = &has_come {
            has_come.store(true, Ordering::Relaxed);
        }
        Self(has_come)
    }
}

impl Drop for HeaderGuard {
    fn drop(&mut self) {
        if let Some(has_come) = &self.0 {
            has_come.store(false, Ordering::Relaxed);
        }
    }
}

/// Ties a connection to the task that serves it.
#[derive(Debug)]
pub(crate) struct ConnectionScope(Arc<AtomicBool>);

impl ConnectionScope {
    /// Runs the future that serves the connection.
    pub(crate) async fn of<F: Future>(self, serving: F) -> F::Output {
        HAS_COME.scope(self.0, serving).await
    }
}

/// A client's connection whose heads are timed.
#[derive(Debug)]
pub(crate) struct HeaderTimeoutStream<S> {
    stream: S,
    within: Duration,
    has_come: Arc<AtomicBool>,
    /// The deadline of the head that is being read.
    until: Option<Instant>,
    alarm: Option<Pin<Box<Sleep>>>,
    is_http2: bool,
    /// Bytes that were read ahead and not delivered yet.
    ahead: Vec<u8>,
    /// The beginning of a head that is delivered as a whole.
    held: Vec<u8>,
}

impl<S: IO> HeaderTimeoutStream<S> {
    pub(crate) fn new(stream: S, within: Duration) -> Self {
        let is_http2 = matches!(stream.selected_alpn_proto(), Some(ALPN::H2));
        Self {
            stream,
            within,
            has_come: Arc::default(),
            until: None,
            alarm: None,
            is_http2,
            ahead: Vec::new(),
            held: Vec::new(),
        }
    }

    /// The scope in which this connection's requests are served.
    pub(crate) fn scope(&self) -> ConnectionScope {
        ConnectionScope(self.has_come.clone())
    }

    fn disarm(&mut self) {
        self.until = None;
        self.alarm = None;
    }

    /// Reads on until the head with an absolute target is complete, and delivers it with a Host
    /// that Pingora accepts.
    fn read_held(
        &mut self,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let mut end = absolute_target::end_of_head(&self.held);
        while end.is_none() && self.held.len() < LONGEST_HELD {
            let mut piece = [0; 4096];
            let mut read = ReadBuf::new(&mut piece);
            ready!(Pin::new(&mut self.stream).poll_read(context, &mut read))?;
            if read.filled().is_empty() {
                break;
            }
            self.held.extend_from_slice(read.filled());
            end = absolute_target::end_of_head(&self.held);
        }
        let came = std::mem::take(&mut self.held);
        let (head, rest) = came.split_at(end.unwrap_or_default());
        self.ahead = match absolute_target::reconciled(head) {
            Some(head) => [&head, rest].concat(),
            None => came,
        };
        self.give_ahead(buffer);
        Poll::Ready(Ok(()))
    }

    fn give_ahead(&mut self, buffer: &mut ReadBuf<'_>) {
        let given = self.ahead.len().min(buffer.remaining());
        buffer.put_slice(&self.ahead[..given]);
        self.ahead.drain(..given);
    }

    /// Ready once the head's deadline has passed.
    fn timeout_error(&mut self, context: &mut Context<'_>) -> Poll<io::Error> {
        let Some(until) = self.until else {
            return Poll::Pending;
        };
        if Instant::now() < until {
            let alarm = || Box::pin(sleep_until(until));
            ready!(self.alarm.get_or_insert_with(alarm).as_mut().poll(context));
        }
        Poll::Ready(io::ErrorKind::TimedOut.into())
    }
}

impl<S: IO> AsyncRead for HeaderTimeoutStream<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.ahead.is_empty() {
            self.give_ahead(buffer);
            return Poll::Ready(Ok(()));
        }
        if self.is_http2 || self.has_come.load(Ordering::Relaxed) {
            self.disarm();
            return Pin::new(&mut self.stream).poll_read(context, buffer);
        }
        if let Poll::Ready(late) = self.timeout_error(context) {
            return Poll::Ready(Err(late));
        }
        if !self.held.is_empty() {
            return self.read_held(context, buffer);
        }
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(context, buffer))?;
        let came = &buffer.filled()[before..];
        if came.is_empty() || self.until.is_some() {
            return Poll::Ready(Ok(()));
        }
        self.until = Some(Instant::now() + self.within);
        if !absolute_target::starts_absolute(came) {
            return Poll::Ready(Ok(()));
        }
        self.held = came.to_vec();
        buffer.set_filled(before);
        self.read_held(context, buffer)
    }
}

impl<S: IO> AsyncWrite for HeaderTimeoutStream<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        // There is a response, so the head was complete.
        self.disarm();
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.disarm();
        Pin::new(&mut self.stream).poll_write_vectored(context, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

#[async_trait]
impl<S: IO> Shutdown for HeaderTimeoutStream<S> {
    async fn shutdown(&mut self) {
        self.stream.shutdown().await;
    }
}

#[async_trait]
impl<S: IO> Peek for HeaderTimeoutStream<S> {
    /// Fills `buffer` with the connection's first bytes, as long as they are those of HTTP/2. They
    /// are read again afterwards.
    async fn try_peek(&mut self, buffer: &mut [u8]) -> io::Result<bool> {
        let mut seen = Vec::with_capacity(buffer.len());
        while seen.len() < buffer.len() && PREFACE.starts_with(&seen) {
            let mut piece = [0; PREFACE.len()];
            let wanted = (buffer.len() - seen.len()).min(piece.len());
            match self.read(&mut piece[..wanted]).await? {
                0 => break,
                read => seen.extend_from_slice(&piece[..read]),
            }
        }
        buffer[..seen.len()].copy_from_slice(&seen);
        self.is_http2 = seen == PREFACE;
        self.ahead = seen;
        Ok(true)
    }
}

describe_as_inner!(HeaderTimeoutStream, stream);
