//! Connections that carry more than one write, and whether such a write may be sent again.
//!
//! The registry may close a kept connection at any time. A POST, PUT, PATCH or DELETE that is on
//! its way then fails, and in general it is unknown whether the registry handled it. Five rules
//! keep a write from failing like that, and all but a POST that opens an upload session from reaching
//! the registry twice:
//!
//! 1. A write takes a kept connection only within [`WRITE_IDLE`] of the last response on it.
//!    Servers and proxies count their idle times in seconds, so none has become idle.
//! 2. Pingora reads, without waiting, before it takes a connection. It sees an end that arrived.
//! 3. A registry that restarts or reloads closes connections of any age, and its end may be on its
//!    way. Then the write is sent once more, on a new connection. Before that the kernel must show
//!    that the registry ended the connection before any byte of the write reached it.
//!
//! 4. A POST that opens an upload session is sent again without that proof, once. If the registry
//!    has opened a session before, it has one more that no client uses, and purges it in time.
//! 5. After a write that ended without proof, each write has a connection of its own for a while
//!    ([`DISTRUSTED_FOR`]): this registry, or what stands before it, closes connections early.
//!
//! The proof of rule 3 is a FIN that acknowledges no byte of the write. A FIN acknowledges all that
//! the other kernel had received when it was sent. A server that has closed a connection reads no
//! more from it. A reset (RST) proves nothing, because the kernel ignores what it acknowledges. So
//! a write that meets a reset fails. A server that closes a connection with a write in its kernel,
//! unread, sends such a reset. An nginx that reloads under load does so now and then.
//!
//! Pingora drops a broken connection before it asks whether to retry. So a tracer, which Pingora
//! calls just before that, notes what the kernel says.

use std::collections::HashMap;
use std::io;
use std::os::fd::RawFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use pingora::protocols::l4::ext::get_tcp_info;
use pingora::upstreams::peer::{Tracer, Tracing};
use pingora::{Error, ErrorType};

/// How long after a response the next write may use its connection.
pub(crate) const WRITE_IDLE: Duration = Duration::from_millis(500);

/// How long each write has a connection of its own after one that failed on a kept connection.
const DISTRUSTED_FOR: Duration = Duration::from_secs(10 * 60);

/// All open connections that may carry several writes.
#[derive(Debug, Default)]
pub(crate) struct WriteConnections {
    open: Mutex<HashMap<RawFd, Arc<WriteConnection>>>,
    /// Set where the kernel does not say what was acknowledged, as Linux before 6.2 and gVisor.
    is_blind: AtomicBool,
    /// When a write last failed on a kept connection.
    failed: Mutex<Option<Instant>>,
}

#[derive(Debug)]
struct WriteConnection {
    all: Weak<WriteConnections>,
    descriptor: OnceLock<RawFd>,
    /// How many bytes the registry's kernel had acknowledged when the connection was closed.
    acknowledged_at_end: OnceLock<u64>,
}

/// One write, which may share its connection with other writes.
#[derive(Debug)]
pub(crate) struct SharedWrite {
    connection: Arc<WriteConnection>,
    opens_session: bool,
    /// How many bytes of earlier writes the registry's kernel had acknowledged. `None` on a new
    /// connection, or if that is unknown.
    acknowledged_before: Option<u64>,
}

#[derive(Debug)]
struct Watch(Arc<WriteConnection>);

impl WriteConnections {
    /// A write that may share its connection; `None` if each write needs one of its own.
    pub(crate) fn begin(self: &Arc<Self>, opens_session: bool) -> Option<SharedWrite> {
        let connection = || {
            Arc::new(WriteConnection {
                all: Arc::downgrade(self),
                descriptor: OnceLock::new(),
                acknowledged_at_end: OnceLock::new(),
            })
        };
        let failed = *self.failed.lock();
        let is_distrusted = failed.is_some_and(|failed| failed.elapsed() < DISTRUSTED_FOR);
        (!is_distrusted && !self.is_blind.load(Ordering::Relaxed)).then(|| SharedWrite {
            connection: connection(),
            opens_session,
            acknowledged_before: None,
        })
    }
}

impl SharedWrite {
    /// Whether it opens an upload session at most.
    pub(crate) fn opens_session(&self) -> bool {
        self.opens_session
    }

    /// Watches the connection that is opened for this write, if one is.
    pub(crate) fn tracer(&self) -> Tracer {
        Tracer(Box::new(Watch(self.connection.clone())))
    }

    /// Records the connection of this write, before anything of the write is sent.
    pub(crate) fn connected(&mut self, is_reused: bool, descriptor: RawFd) {
        let Some(all) = self.connection.all.upgrade() else {
            return;
        };
        let Some(acknowledged) = acknowledged(descriptor) else {
            all.is_blind.store(true, Ordering::Relaxed);
            return;
        };
        if !is_reused {
            let _ = self.connection.descriptor.set(descriptor);
            let connection = self.connection.clone();
            all.open.lock().insert(descriptor, connection);
        } else if acknowledged == 0 {
            // It carried a write, so the kernel does not count.
            all.is_blind.store(true, Ordering::Relaxed);
        } else if let Some(connection) = all.open.lock().get(&descriptor) {
            self.connection = connection.clone();
            self.acknowledged_before = Some(acknowledged);
        }
    }

    /// Whether the registry ended the connection before any byte of this write reached it. To be
    /// asked once the connection is closed.
    pub(crate) fn never_arrived(&self, error: &Error) -> bool {
        let at_end = self.connection.acknowledged_at_end.get();
        at_end.is_some() && self.acknowledged_before.as_ref() == at_end && is_end(error)
    }

    /// Records that this write failed on a kept connection, and perhaps arrived.
    pub(crate) fn record_failure(&self) {
        if let Some(all) = self.connection.all.upgrade() {
            *all.failed.lock() = Some(Instant::now());
        }
    }
}

impl Tracing for Watch {
    fn on_connected(&self) {}

    /// Called while the descriptor is still open.
    fn on_disconnected(&self) {
        let Some(descriptor) = self.0.descriptor.get() else {
            return;
        };
        if let Some(acknowledged) = acknowledged(*descriptor) {
            let _ = self.0.acknowledged_at_end.set(acknowledged);
        }
        if let Some(all) = self.0.all.upgrade() {
            all.open.lock().remove(descriptor);
        }
    }

    fn boxed_clone(&self) -> Box<dyn Tracing> {
        Box::new(Self(self.0.clone()))
    }
}

/// How many bytes the other side's kernel has acknowledged.
fn acknowledged(descriptor: RawFd) -> Option<u64> {
    let info = get_tcp_info(descriptor).ok()?;
    Some(info.tcpi_bytes_acked)
}

/// Whether the other side's FIN came before anything else. After a FIN the kernel reports a reset
/// as `EPIPE`, without one as `ECONNRESET`.
fn is_end(error: &Error) -> bool {
    match error.cause.as_deref() {
        None => *error.etype() == ErrorType::ConnectionClosed,
        Some(cause) => match (
            cause.downcast_ref::<Box<Error>>(),
            cause.downcast_ref::<io::Error>(),
        ) {
            (Some(inner), _) => is_end(inner),
            (_, Some(inner)) => matches!(
                inner.kind(),
                io::ErrorKind::BrokenPipe | io::ErrorKind::UnexpectedEof
            ),
            (None, None) => false,
        },
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};
    use std::os::fd::AsRawFd;

    use super::*;

    /// A connection that carried one write, with the registry's side of it.
    fn kept(all: &Arc<WriteConnections>) -> (TcpStream, TcpStream, Tracer) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut ours = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (mut theirs, _) = listener.accept().unwrap();
        let mut first = all.begin(false).unwrap();
        first.connected(false, ours.as_raw_fd());
        ours.write_all(b"first").unwrap();
        theirs.read_exact(&mut [0; 5]).unwrap();
        theirs.write_all(b"response").unwrap();
        ours.read_exact(&mut [0; 8]).unwrap();
        (ours, theirs, first.tracer())
    }

    /// The error of a read after a write, as Pingora reports it.
    fn read_error(ours: &mut TcpStream) -> Result<(), Box<Error>> {
        match ours.read(&mut [0; 9]) {
            Ok(0) => Error::e_explain(ErrorType::ConnectionClosed, "no response"),
            Ok(_) => Ok(()),
            Err(error) => Error::e_because(ErrorType::ReadError, "no response", error),
        }
    }

    /// Sends the second write and asks whether it may be sent again. `then` is done before or
    /// after it is sent.
    fn never_arrived(is_before: bool, then: impl FnOnce(TcpStream)) -> bool {
        let all = Arc::new(WriteConnections::default());
        let (mut ours, theirs, tracer) = kept(&all);
        let mut second = all.begin(false).unwrap();
        second.connected(true, ours.as_raw_fd());
        if is_before {
            then(theirs);
            ours.write_all(b"second").unwrap();
        } else {
            ours.write_all(b"second").unwrap();
            then(theirs);
        }
        let error = read_error(&mut ours).unwrap_err();
        assert!(
            !second.never_arrived(&error),
            "not known before it is closed"
        );
        tracer.0.on_disconnected();
        assert!(all.open.lock().is_empty());
        second.never_arrived(&error)
    }

    #[test]
    fn a_write_that_met_a_closed_connection_never_arrived() {
        assert!(never_arrived(true, drop));
    }

    #[test]
    fn a_write_that_was_read_may_have_been_handled() {
        assert!(!never_arrived(false, |mut theirs| {
            theirs.read_exact(&mut [0; 6]).unwrap();
        }));
        assert!(!never_arrived(false, |mut theirs| {
            theirs.read_exact(&mut [0; 1]).unwrap();
        }));
    }

    #[test]
    fn a_reset_proves_nothing() {
        let reset = |theirs: TcpStream| {
            let theirs = tokio::net::TcpSocket::from_std_stream(theirs);
            theirs.set_zero_linger().unwrap();
        };
        assert!(!never_arrived(false, reset));
        assert!(!never_arrived(false, drop), "unread");
    }

    #[test]
    fn a_write_on_a_new_connection_may_have_been_handled() {
        let all = Arc::new(WriteConnections::default());
        let (mut ours, theirs, tracer) = kept(&all);
        let mut second = all.begin(false).unwrap();
        // Not reused, by all that is known.
        second.connected(false, ours.as_raw_fd());
        drop(theirs);
        ours.write_all(b"second").unwrap();
        let error = read_error(&mut ours).unwrap_err();
        tracer.0.on_disconnected();
        second.tracer().0.on_disconnected();
        assert!(!second.never_arrived(&error));
    }

    #[test]
    fn after_a_failure_writes_share_no_connection() {
        let all = Arc::new(WriteConnections::default());
        let write = all.begin(true).unwrap();
        assert!(write.opens_session());
        write.record_failure();
        assert!(all.begin(true).is_none());
    }

    #[test]
    fn writes_share_no_connection_where_the_kernel_does_not_count() {
        let all = Arc::new(WriteConnections::default());
        let mut write = all.begin(false).unwrap();
        let file = std::fs::File::open("/dev/null").unwrap();
        write.connected(false, file.as_raw_fd());
        assert!(all.begin(false).is_none());
    }
}
