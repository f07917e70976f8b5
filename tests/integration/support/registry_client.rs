//! What a client does in a push and a pull, through any port.

use super::raw_http::{Answer, Connection, Request};
use super::{base64, digest_of};

/// Query values as skopeo and docker send them.
pub fn encoded(text: &str) -> String {
    text.replace(':', "%3A").replace('/', "%2F")
}

/// The path and query of a mount, encoded as skopeo and docker do.
pub fn mount_target(target: &str, digest: &str, source: &str) -> String {
    let (from, mount) = (encoded(source), encoded(digest));
    format!("/v2/{target}/blobs/uploads/?from={from}&mount={mount}")
}

#[derive(Debug, Clone)]
pub struct Client {
    pub port: u16,
    headers: Vec<(String, String)>,
}

impl Client {
    pub fn new(port: u16) -> Self {
        Self {
            port,
            headers: Vec::new(),
        }
    }

    /// The same client on another port.
    pub fn at(&self, port: u16) -> Self {
        Self {
            port,
            ..self.clone()
        }
    }

    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    pub fn basic(self, user: &str, password: &str) -> Self {
        let pair = base64(format!("{user}:{password}").as_bytes());
        self.header("Authorization", &format!("Basic {pair}"))
    }

    pub fn bearer(self, token: &str) -> Self {
        self.header("Authorization", &format!("Bearer {token}"))
    }

    pub fn request(&self, method: &str, target: &str) -> Request {
        self.headers
            .iter()
            .fold(Request::new(method, target), |request, (name, value)| {
                request.header(name, value)
            })
    }

    #[track_caller]
    pub fn get(&self, target: &str) -> Answer {
        self.request("GET", target).send(self.port)
    }

    #[track_caller]
    pub fn mount(&self, target: &str, digest: &str, source: &str) -> Answer {
        self.request("POST", &mount_target(target, digest, source))
            .send(self.port)
    }

    /// Opens an upload session.
    #[track_caller]
    pub fn begin(&self, repository: &str) -> Answer {
        self.request("POST", &format!("/v2/{repository}/blobs/uploads/"))
            .send(self.port)
    }

    /// Sends the whole blob into the session that `opened` offers, in one PUT.
    #[track_caller]
    pub fn finish(&self, opened: &Answer, bytes: &[u8]) -> Answer {
        self.request("PUT", &closing(opened, &digest_of(bytes)))
            .header("Content-Type", "application/octet-stream")
            .body(bytes)
            .send(self.port)
    }

    /// Sends the blob into the session by a PATCH for each piece, then closes it.
    #[track_caller]
    pub fn finish_in_pieces(&self, opened: &Answer, bytes: &[u8], size: usize) -> Answer {
        let mut session = opened.clone();
        for piece in bytes.chunks(size) {
            session = self
                .request("PATCH", &session.location_path())
                .header("Content-Type", "application/octet-stream")
                .body(piece)
                .send(self.port)
                .expect(202);
        }
        self.request("PUT", &closing(&session, &digest_of(bytes)))
            .send(self.port)
    }

    /// Begins a request whose body follows in chunks.
    #[track_caller]
    pub fn begin_chunks(&self, method: &str, target: &str) -> Connection {
        let mut connection = self.connect();
        let head = self
            .request(method, target)
            .header("Content-Type", "application/octet-stream")
            .header("Transfer-Encoding", "chunked")
            .bytes(self.port);
        connection.write(&head).unwrap();
        connection
    }

    /// Uploads a blob and gives its digest.
    #[track_caller]
    pub fn upload(&self, repository: &str, bytes: &[u8]) -> String {
        let opened = self.begin(repository).expect(202);
        self.finish(&opened, bytes).expect(201);
        digest_of(bytes)
    }

    #[track_caller]
    pub fn put_manifest(&self, repository: &str, tag: &str, manifest: &[u8]) -> Answer {
        self.request("PUT", &format!("/v2/{repository}/manifests/{tag}"))
            .header("Content-Type", super::image::MANIFEST_TYPE)
            .body(manifest)
            .send(self.port)
    }

    #[track_caller]
    pub fn blob(&self, repository: &str, digest: &str) -> Answer {
        self.get(&format!("/v2/{repository}/blobs/{digest}"))
    }

    #[track_caller]
    pub fn head_blob(&self, repository: &str, digest: &str) -> Answer {
        self.request("HEAD", &format!("/v2/{repository}/blobs/{digest}"))
            .send(self.port)
    }

    /// Pulls a blob and wants its bytes to hash to its name.
    #[track_caller]
    pub fn pull(&self, repository: &str, digest: &str) -> Vec<u8> {
        let answer = self.blob(repository, digest).expect(200);
        assert_eq!(digest_of(&answer.body), digest, "blob of {repository}");
        answer.body
    }

    pub fn connect(&self) -> Connection {
        Connection::to(self.port).unwrap()
    }
}

/// The path of the PUT that closes a session.
#[track_caller]
pub fn closing(session: &Answer, digest: &str) -> String {
    let path = session.location_path();
    let glue = if path.contains('?') { '&' } else { '?' };
    format!("{path}{glue}digest={}", encoded(digest))
}
