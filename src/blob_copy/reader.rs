//! Reads an artifact's bytes, and hashes them on the way.

use std::io::Read;

use bytes::Bytes;
use sha2::{Digest as _, Sha256};
use tokio::sync::mpsc::{Receiver, Sender, channel};

use crate::blob_copy::artifact::Artifact;
use crate::oci::Digest;

/// The size of a chunk, in bytes.
const CHUNK: usize = 256 * 1024;
/// Chunks that may be queued for the registry.
const AHEAD: usize = 4;

/// Reads an artifact on a thread of its own. The last chunk comes only if all bytes have the
/// digest, so the receiver never takes wrong bytes for complete ones.
pub(crate) fn read(artifact: Artifact, digest: Digest) -> Receiver<Bytes> {
    let (chunks, receiver) = channel(AHEAD);
    tokio::task::spawn_blocking(move || {
        if let Err(error) = send(artifact, &digest, &chunks) {
            tracing::warn!(%error, %digest, "artifact read failed");
        }
    });
    receiver
}

fn send(artifact: Artifact, digest: &Digest, chunks: &Sender<Bytes>) -> std::io::Result<()> {
    let mut file = artifact.file.take(artifact.size);
    let mut hash = Sha256::new();
    let mut left = artifact.size;
    let mut held: Option<Bytes> = None;
    while left > 0 {
        let mut chunk = Vec::with_capacity(CHUNK);
        file.by_ref().take(CHUNK as u64).read_to_end(&mut chunk)?;
        if chunk.is_empty() {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        hash.update(&chunk);
        left = left.saturating_sub(chunk.len() as u64);
        if let Some(before) = held.replace(Bytes::from(chunk))
            && chunks.blocking_send(before).is_err()
        {
            // The registry or the deadline has closed the channel.
            return Ok(());
        }
    }
    if !digest.names(&hash.finalize()) {
        return Err(std::io::Error::other(
            "its bytes are not what its name says",
        ));
    }
    if let Some(last) = held {
        // As above.
        let _ = chunks.blocking_send(last);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Seek, Write};

    async fn received(bytes: &[u8], digest: Digest) -> usize {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        file.rewind().unwrap();
        let artifact = Artifact {
            file,
            size: bytes.len() as u64,
        };
        let mut chunks = read(artifact, digest);
        let mut count = 0;
        while let Some(chunk) = chunks.recv().await {
            count += chunk.len();
        }
        count
    }

    #[tokio::test]
    async fn all_bytes_come_only_where_the_digest_is_right() {
        for size in [1, CHUNK - 1, CHUNK, CHUNK + 1, 5 * CHUNK] {
            let mut bytes = vec![7; size];
            let digest = Digest::of(&bytes);
            assert_eq!(received(&bytes, digest.clone()).await, size);
            bytes[size / 2] = 8;
            assert!(received(&bytes, digest).await < size, "{size}");
        }
    }
}
