//! One connection to Redis for all requests. A request never waits for longer than the timeout, and
//! never for a connection to be made.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use redis::{ErrorKind, RedisError, RedisResult, ServerErrorKind};
use tokio::sync::{Notify, watch};

use crate::config::{RedisConfig, Secret, on_one_line};
use crate::discovery::redis::connector::{Connector, Link};
use crate::discovery::redis::keys::Keys;
use crate::telemetry::labels::RedisResult as Counted;
use crate::telemetry::metrics::Metrics;

/// So many failures in a row end the connection.
const FAILURES: u32 = 3;
/// How long no request uses Redis after that.
const REST: Duration = Duration::from_secs(1);
/// The interval of look-ups that show whether the server is still there.
const WATCH: Duration = Duration::from_secs(1);
/// The pause after the first failed attempt to connect; each further one in a row doubles it.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// The longest pause between two attempts.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// The interval of warnings about refused writes.
const WARN_AGAIN: Duration = Duration::from_secs(10 * 60);
/// The most of an error's text: a server may send any.
const LONGEST_ERROR: usize = 200;
/// Replaces the password in an error's text: a server may send back what it got.
const MASK: &str = "(masked)";

/// What a failure means for the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RequestKind {
    Read,
    /// A server that refuses writes, because its memory is full, can still be read.
    Write,
}

/// The connection, if there is one.
#[derive(Debug)]
pub(super) struct Connection {
    timeout: Duration,
    keys: Keys,
    server: String,
    password: Option<Secret<String>>,
    link: Mutex<Option<(Link, u64)>>,
    /// The number of connections that were made.
    made: AtomicU64,
    /// Whether an attempt to connect has ended.
    tried: watch::Sender<bool>,
    /// Failures in a row.
    failures: AtomicU32,
    /// Why the connection ended.
    fault: Mutex<Option<Fault>>,
    ended: Notify,
    /// When the log last said that writes are refused.
    refused_at: Mutex<Option<Instant>>,
    metrics: Arc<Metrics>,
}

#[derive(Debug)]
struct Fault {
    error: String,
    pause: Duration,
}

impl Connection {
    pub(super) fn new(settings: &RedisConfig, metrics: Arc<Metrics>) -> Self {
        let login = settings.url.login.as_ref();
        Self {
            timeout: settings.timeout,
            keys: Keys::new(settings),
            server: settings.url.to_string(),
            password: login.map(|login| login.expose().password.clone().into()),
            link: Mutex::default(),
            made: AtomicU64::new(0),
            tried: watch::Sender::new(false),
            failures: AtomicU32::new(0),
            fault: Mutex::default(),
            ended: Notify::new(),
            refused_at: Mutex::default(),
            metrics,
        }
    }

    pub(super) fn keys(&self) -> &Keys {
        &self.keys
    }

    /// The number of connections that were made: what another one wrote may be lost.
    pub(super) fn made(&self) -> u64 {
        self.made.load(Ordering::Relaxed)
    }

    /// Whether keys are on different servers, so that one pipeline cannot reach them all.
    pub(super) fn is_cluster(&self) -> bool {
        let link = self.link.lock();
        link.as_ref().is_some_and(|(link, _)| link.is_cluster())
    }

    /// Sends a request, and waits for the response for no longer than the timeout. `None` if there
    /// is none, whatever the reason, which is counted.
    pub(super) async fn request<T, F>(
        &self,
        kind: RequestKind,
        send: impl FnOnce(Link) -> F,
    ) -> Option<T>
    where
        F: Future<Output = RedisResult<T>>,
    {
        let link = self.link.lock().clone();
        let Some((link, number)) = link else {
            self.metrics.redis_request(Counted::Skipped);
            return None;
        };
        let begin = Instant::now();
        let response = tokio::time::timeout(self.timeout, send(link)).await;
        self.metrics.redis_duration(begin.elapsed());
        match response {
            Ok(Ok(value)) => {
                self.failures.store(0, Ordering::Relaxed);
                self.metrics.redis_request(Counted::Answered);
                Some(value)
            }
            Ok(Err(error)) => {
                self.metrics.redis_request(Counted::Failed);
                self.record_error(kind, number, &error);
                None
            }
            Err(_) => {
                self.metrics.redis_request(Counted::TimedOut);
                self.record_failure(number, || self.too_late());
                None
            }
        }
    }

    fn too_late(&self) -> String {
        let timeout = humantime::format_duration(self.timeout);
        format!("sent no response within {timeout}")
    }

    fn record_error(&self, kind: RequestKind, number: u64, error: &RedisError) {
        let is_refused = match error.kind() {
            // The server is gone, is a replica of another one, or speaks something else: no
            // further request is of use.
            ErrorKind::Io | ErrorKind::Parse | ErrorKind::Server(ServerErrorKind::ReadOnly) => {
                return self.end(number, self.text_of(error), FIRST_PAUSE);
            }
            ErrorKind::Server(_) | ErrorKind::Extension => true,
            _ => false,
        };
        if kind == RequestKind::Read || !is_refused {
            return self.record_failure(number, || self.text_of(error));
        }
        // A server that is almost full takes some changes, and refuses the next.
        let mut refused_at = self.refused_at.lock();
        if refused_at.is_none_or(|at| at.elapsed() > WARN_AGAIN) {
            *refused_at = Some(Instant::now());
            let (server, error) = (&*self.server, self.text_of(error));
            tracing::warn!(server, error, "redis write refused");
        }
    }

    fn record_failure(&self, number: u64, error: impl Fn() -> String) {
        if self.failures.fetch_add(1, Ordering::Relaxed) + 1 >= FAILURES {
            self.end(number, error(), REST);
        }
    }

    /// Ends the connection of this number, if it is still the current one.
    fn end(&self, number: u64, error: String, pause: Duration) {
        let mut link = self.link.lock();
        if link.as_ref().is_none_or(|(_, current)| *current != number) {
            return;
        }
        *link = None;
        *self.fault.lock() = Some(Fault { error, pause });
        self.ended.notify_one();
    }

    fn text_of(&self, error: &RedisError) -> String {
        text_without(error, self.password.as_ref().map(|it| &**it.expose()))
    }

    /// Makes the connection, and makes it anew whenever it ends. Never returns.
    pub(super) async fn keep(&self, mut connector: Connector) {
        let mut pause = FIRST_PAUSE;
        let mut is_usable = None;
        loop {
            let begin = Instant::now();
            let fault = match self.connect(&mut connector).await {
                Ok(link) => {
                    if is_usable != Some(true) {
                        tracing::info!(server = &*self.server, "redis connected");
                        is_usable = Some(true);
                    }
                    let number = self.begin(link.clone());
                    tokio::select! {
                        () = self.ended.notified() => {}
                        () = self.watch(link, number) => {}
                    }
                    let fault = self.fault.lock().take();
                    if begin.elapsed() > LONGEST_PAUSE {
                        pause = FIRST_PAUSE;
                    }
                    fault
                }
                Err(error) => Some(Fault { error, pause }),
            };
            let Some(fault) = fault else { continue };
            if is_usable != Some(false) {
                let (server, error) = (&*self.server, fault.error);
                tracing::warn!(server, error, "redis not usable");
                is_usable = Some(false);
            }
            self.tried.send_replace(true);
            tokio::time::sleep(pause.max(fault.pause)).await;
            pause = (2 * pause).min(LONGEST_PAUSE);
        }
    }

    /// Waits for the end of the first attempt to connect.
    pub(super) async fn tried(&self) {
        let _ = self.tried.subscribe().wait_for(|tried| *tried).await;
    }

    /// Notices the end of a connection that no request uses. Never returns.
    async fn watch(&self, link: Link, number: u64) {
        loop {
            tokio::time::sleep(WATCH).await;
            match tokio::time::timeout(self.timeout, self.look_up_nothing(link.clone())).await {
                Ok(Ok(())) => self.failures.store(0, Ordering::Relaxed),
                Ok(Err(error)) => self.record_error(RequestKind::Read, number, &error),
                Err(_) => self.record_failure(number, || self.too_late()),
            }
        }
    }

    fn begin(&self, link: Link) -> u64 {
        self.failures.store(0, Ordering::Relaxed);
        let number = self.made.fetch_add(1, Ordering::Relaxed) + 1;
        *self.link.lock() = Some((link, number));
        self.tried.send_replace(true);
        number
    }

    /// Connects, and tries the requests that a HEAD makes: a server that refuses them, or is too
    /// slow, is of no use.
    async fn connect(&self, connector: &mut Connector) -> Result<Link, String> {
        let link = connector.connect().await;
        let link = link.map_err(|error| self.text_of(&error))?;
        let tried = self.look_up_nothing(link.clone());
        match tokio::time::timeout(self.timeout, tried).await {
            Ok(Ok(())) => Ok(link),
            Ok(Err(error)) => Err(self.text_of(&error)),
            Err(_) => Err(self.too_late()),
        }
    }

    /// Asks for the holders of a digest that no layer has.
    async fn look_up_nothing(&self, mut link: Link) -> RedisResult<()> {
        let mut command = redis::cmd("ZREVRANGE");
        command.arg(self.keys.holders(&[0; 32])).arg(0).arg(0);
        let holders = command.query_async::<Vec<Vec<u8>>>(&mut link).await;
        holders.map(drop)
    }
}

/// The error of a server of this configuration, without its password.
pub(crate) fn error_text(error: &RedisError, settings: &RedisConfig) -> String {
    let login = settings.url.login.as_ref();
    text_without(error, login.map(|login| &*login.expose().password))
}

/// The error on one line: a server may send any text, also what it got.
fn text_without(error: &RedisError, password: Option<&str>) -> String {
    let text = error.to_string();
    let text = match password {
        Some(password) => text.replace(password, MASK),
        None => text,
    };
    on_one_line(&text).chars().take(LONGEST_ERROR).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_password_is_not_in_the_form_for_debugging() {
        let settings = RedisConfig {
            url: crate::config::RedisUrl::parse("redis://:hunter2@a").unwrap(),
            prefix: "x:".to_owned(),
            ca_certificate: None,
            timeout: Duration::from_millis(50),
            fingerprint_key: None,
        };
        let connection = Connection::new(&settings, Arc::new(Metrics::new(None).unwrap()));
        assert!(!format!("{connection:?}").contains("hunter2"));
    }

    #[test]
    fn an_error_is_one_short_line_without_the_password() {
        let said = format!("ERR hunter2\n{}", "x".repeat(1000));
        let error = redis::make_extension_error("ERR".to_owned(), Some(said));
        let text = text_without(&error, Some("hunter2"));
        assert!(text.contains(MASK) && !text.contains("hunter2"), "{text}");
        assert!(
            !text.contains('\n') && text.len() <= LONGEST_ERROR,
            "{text}"
        );
    }
}
