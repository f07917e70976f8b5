//! Plain HTTP on a port with TLS: the client gets an error as from Go's server (`net/http`,
//! `tlsRecordHeaderLooksLikeHTTP`), instead of a closed connection.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// The response of Go's server, word for word.
const ANSWER: &[u8] =
    b"HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n";
/// How long the client may take to read the response. Its request is read meanwhile.
const TIME_LIMIT: Duration = Duration::from_secs(2);
const BYTES_LIMIT: u64 = 1 << 20;

/// Whether a connection begins with an HTTP method. Waits for its first byte.
pub(crate) async fn is_begun(connection: &TcpStream, within: Duration) -> bool {
    let mut first = [0];
    let peeked = timeout(within, connection.peek(&mut first)).await;
    // A TLS record begins with its type, a number below 32 (RFC 8446, 5.1).
    matches!(peeked, Ok(Ok(1))) && first[0].is_ascii_uppercase()
}

/// Responds, and reads until the client disconnects. A connection that is closed with bytes unread
/// is reset, and the client may lose the response.
pub(crate) async fn refuse(mut connection: TcpStream) {
    let refused = async {
        connection.write_all(ANSWER).await?;
        connection.shutdown().await?;
        let mut rest = connection.take(BYTES_LIMIT);
        tokio::io::copy(&mut rest, &mut tokio::io::sink()).await
    };
    if let Ok(Err(error)) = timeout(TIME_LIMIT, refused).await {
        tracing::debug!(%error, "a client of plain HTTP went away");
    }
}
