//! An artifact's bytes, hashed while they are read.

use std::io::Read;

use bytes::Bytes;
use sha2::{Digest as _, Sha256};
use tokio::sync::mpsc::{Receiver, Sender, channel};

use crate::blob_copy::artifact::Artifact;
use crate::oci::Digest;

/// Bytes of one piece.
const PIECE: usize = 256 * 1024;
/// Pieces that wait for the registry.
const AHEAD: usize = 4;

/// Reads an artifact on a thread of its own. The last piece comes only if the whole has the
/// digest, so whoever wants all bytes never gets wrong ones for whole.
pub(crate) fn read(artifact: Artifact, digest: Digest) -> Receiver<Bytes> {
    let (pieces, receiver) = channel(AHEAD);
    tokio::task::spawn_blocking(move || {
        if let Err(error) = send(artifact, &digest, &pieces) {
            tracing::warn!(%error, %digest, "an artifact could not be read");
        }
    });
    receiver
}

fn send(artifact: Artifact, digest: &Digest, pieces: &Sender<Bytes>) -> std::io::Result<()> {
    let mut file = artifact.file.take(artifact.size);
    let mut hash = Sha256::new();
    let mut left = artifact.size;
    let mut held: Option<Bytes> = None;
    while left > 0 {
        let mut piece = Vec::with_capacity(PIECE);
        file.by_ref().take(PIECE as u64).read_to_end(&mut piece)?;
        if piece.is_empty() {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        hash.update(&piece);
        left = left.saturating_sub(piece.len() as u64);
        if let Some(before) = held.replace(Bytes::from(piece))
            && pieces.blocking_send(before).is_err()
        {
            // The registry, or the deadline, has had enough.
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
        let _ = pieces.blocking_send(last);
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
        let mut pieces = read(artifact, digest);
        let mut count = 0;
        while let Some(piece) = pieces.recv().await {
            count += piece.len();
        }
        count
    }

    #[tokio::test]
    async fn all_bytes_come_only_where_the_digest_is_right() {
        for size in [1, PIECE - 1, PIECE, PIECE + 1, 5 * PIECE] {
            let mut bytes = vec![7; size];
            let digest = Digest::of(&bytes);
            assert_eq!(received(&bytes, digest.clone()).await, size);
            bytes[size / 2] = 8;
            assert!(received(&bytes, digest).await < size, "{size}");
        }
    }
}
