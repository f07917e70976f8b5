//! A client whose upload is in flight for as long as a test wants.

use crate::support::digest_of;
use crate::support::raw_http::{Answer, Connection};
use crate::support::registry_client::{Client, closing};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// Often enough: after two seconds without a byte crossmount takes an upload for given up.
const EVERY: Duration = Duration::from_millis(500);

/// A client that has asked for a layer, and whose upload has begun. It sends a little now and then
/// until it is told otherwise, so that no HEAD comes too late to wait for it.
pub struct Leader {
    client: Client,
    session: Answer,
    bytes: Vec<u8>,
    sending: Option<(Sender<()>, JoinHandle<Sent>)>,
    sent: Option<Sent>,
}

/// The request that sends the layer, and how many bytes it has sent.
type Sent = (Connection, usize);

impl Leader {
    /// Asks for a layer, opens an upload session and sends the first byte.
    #[track_caller]
    pub fn begins(client: Client, repository: &str, layer: &[u8]) -> Self {
        Self::begins_with(client, repository, &digest_of(layer), layer)
    }

    /// Asks for one layer, and sends the bytes of another one.
    #[track_caller]
    pub fn begins_with(client: Client, repository: &str, digest: &str, bytes: &[u8]) -> Self {
        client.head_blob(repository, digest).expect(404);
        Self::uploads(client, repository, bytes, (1, EVERY))
    }

    /// Asks for a layer, and sends so many bytes of it with this pause in between.
    #[track_caller]
    pub fn paced(client: Client, repository: &str, layer: &[u8], pace: (usize, Duration)) -> Self {
        client.head_blob(repository, &digest_of(layer)).expect(404);
        Self::uploads(client, repository, layer, pace)
    }

    #[track_caller]
    fn uploads(client: Client, repository: &str, bytes: &[u8], pace: (usize, Duration)) -> Self {
        let session = client.begin(repository).expect(202);
        let patch = client.begin_chunks("PATCH", &session.location_path());
        let (stop, stopped) = channel();
        let all = bytes.to_vec();
        let thread = thread::spawn(move || send(patch, &all, pace, &stopped));
        Self {
            client,
            session,
            bytes: bytes.to_vec(),
            sending: Some((stop, thread)),
            sent: None,
        }
    }

    /// Sends nothing from now on, and keeps the connection.
    #[track_caller]
    pub fn falls_silent(mut self) -> Self {
        if let Some((stop, thread)) = self.sending.take() {
            drop(stop);
            self.sent = Some(thread.join().unwrap());
        }
        self
    }

    /// Sends the rest and ends the upload.
    #[track_caller]
    pub fn ends(self) {
        let mut silent = self.falls_silent();
        let (mut patch, sent) = silent.sent.take().unwrap();
        patch.write_chunk(&silent.bytes[sent..]).unwrap();
        patch.write_chunk(b"").unwrap();
        let answer = patch.answer("PATCH").unwrap().expect(202);
        let end = closing(&answer, &digest_of(&silent.bytes));
        let client = &silent.client;
        client.request("PUT", &end).send(client.port).expect(201);
    }

    /// The connection breaks in the middle of the body.
    #[track_caller]
    pub fn breaks_off(self) {
        let silent = self.falls_silent();
        drop((silent.sent, silent.session));
    }
}

/// Sends all but the last bytes, until it is stopped or the connection breaks.
fn send(
    mut patch: Connection,
    bytes: &[u8],
    (size, pause): (usize, Duration),
    stopped: &Receiver<()>,
) -> Sent {
    let mut sent = 0;
    while sent + size < bytes.len() && patch.write_chunk(&bytes[sent..sent + size]).is_ok() {
        sent += size;
        if stopped.recv_timeout(pause) != Err(RecvTimeoutError::Timeout) {
            break;
        }
    }
    (patch, sent)
}
