//! A push that a real client made, as a file of `tests/traces` tells it: its README says how.

use super::raw_http::{Answer, Request};
use super::registry_client::Client;
use super::token_issuer::TokenIssuer;
use super::{bytes_from, digest_of};
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

#[derive(Default)]
pub struct RecordedPush {
    pub name: String,
    pub steps: Vec<Step>,
    blobs: Vec<usize>,
    manifest: String,
    /// Repositories, and what they held before.
    held: Vec<(String, String)>,
    tokens: Vec<Token>,
    headers: Vec<Vec<(String, String)>>,
}

/// A request, and the status that the client got.
pub struct Step {
    pub status: u16,
    pub method: String,
    /// With `{N}` for the digests, and `session=N` for what only the response said.
    pub target: String,
    headers: usize,
    token: Option<usize>,
    body: Option<String>,
}

struct Token {
    subject: String,
    /// Repositories and actions.
    access: Vec<(String, Vec<String>)>,
}

/// All that there are, by their names.
pub fn all() -> Vec<RecordedPush> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/traces");
    let mut files: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|it| it == "trace"))
        .collect();
    files.sort();
    files.iter().map(|path| RecordedPush::read(path)).collect()
}

impl RecordedPush {
    fn read(path: &Path) -> Self {
        let mut push = Self {
            name: path.file_stem().unwrap().to_str().unwrap().to_owned(),
            ..Self::default()
        };
        for line in fs::read_to_string(path).unwrap().lines() {
            push.add(line);
        }
        push
    }

    fn add(&mut self, line: &str) {
        if let Some(header) = line.strip_prefix("  ") {
            let (name, value) = header.split_once(": ").unwrap();
            let set = self.headers.last_mut().unwrap();
            return set.push((name.to_owned(), value.to_owned()));
        }
        let (kind, rest) = line.split_once(' ').unwrap();
        let (first, others) = rest.split_once(' ').unwrap_or((rest, ""));
        match kind {
            "blob" => self.blobs.push(others.parse().unwrap()),
            "manifest" => rest.clone_into(&mut self.manifest),
            "holds" => self.held.push((first.to_owned(), others.to_owned())),
            "headers" => self.headers.push(Vec::new()),
            "token" => self.tokens.push(Token::parse(others)),
            status => self.steps.push(Step::parse(status.parse().unwrap(), rest)),
        }
    }

    pub fn has_tokens(&self) -> bool {
        !self.tokens.is_empty()
    }

    /// Whether another repository than that of the request held this step's blob before.
    pub fn another_repository_holds(&self, step: &Step) -> bool {
        self.held
            .iter()
            .any(|(_, what)| step.target.ends_with(&format!("/blobs/sha256:{what}")))
    }

    /// Uploads what the registry held before.
    pub fn prepare(&self, client: impl Fn(&str) -> Client) {
        for (repository, what) in &self.held {
            let client = client(repository);
            if what == "manifest" {
                let manifest = self.with_digests(&self.manifest);
                client
                    .put_manifest(repository, "v1", manifest.as_bytes())
                    .expect(201);
            } else {
                client.upload(repository, &self.blob(what));
            }
        }
    }

    /// Sends all requests, one after another, and gives the responses.
    pub fn replay(&self, port: u16, issuer: &TokenIssuer) -> Vec<Answer> {
        let tokens: Vec<_> = self.tokens.iter().map(|it| it.signed(issuer)).collect();
        let mut sessions = Vec::new();
        let mut answers = Vec::new();
        for step in &self.steps {
            let session = step.session();
            let target = match session {
                Some((number, query)) => {
                    let opened: &Answer = &sessions[number - 1];
                    opened.location_path() + query
                }
                None => step.target.clone(),
            };
            let request = self.request(step, &self.with_digests(&target), &tokens);
            let answer = request.send(port);
            match session {
                Some((number, _)) if step.status == 202 => sessions[number - 1] = answer.clone(),
                None if step.status == 202 => sessions.push(answer.clone()),
                _ => {}
            }
            answers.push(answer);
        }
        answers
    }

    fn request(&self, step: &Step, target: &str, tokens: &[String]) -> Request {
        let mut request = Request::new(&step.method, target);
        for (name, value) in &self.headers[step.headers - 1] {
            request = request.header(name, value);
        }
        if let Some(number) = step.token {
            let value = format!("Bearer {}", tokens[number - 1]);
            request = request.header("Authorization", &value);
        }
        let chunked = self.headers[step.headers - 1]
            .iter()
            .any(|(name, _)| name == "Transfer-Encoding");
        match &step.body {
            Some(what) if chunked => request.body(&in_chunks(&self.body(what))),
            Some(what) => request.body(&self.body(what)),
            None => request,
        }
    }

    fn body(&self, what: &str) -> Vec<u8> {
        match what {
            "manifest" => self.with_digests(&self.manifest).into_bytes(),
            blob => self.blob(blob),
        }
    }

    /// The blob of this placeholder.
    fn blob(&self, placeholder: &str) -> Vec<u8> {
        let number: usize = placeholder[1..placeholder.len() - 1].parse().unwrap();
        // One that nobody has needs a digest of its own alone.
        let size = self.blobs[number - 1].max(32);
        bytes_from(&format!("{} {number}", self.name), size)
    }

    fn with_digests(&self, text: &str) -> String {
        (1..=self.blobs.len()).fold(text.to_owned(), |text, number| {
            let placeholder = format!("{{{number}}}");
            if !text.contains(&placeholder) {
                return text;
            }
            let digest = digest_of(&self.blob(&placeholder));
            text.replace(&placeholder, digest.strip_prefix("sha256:").unwrap())
        })
    }
}

impl Step {
    fn parse(status: u16, rest: &str) -> Self {
        let mut words = rest.split(' ');
        let mut step = Self {
            status,
            method: words.next().unwrap().to_owned(),
            target: words.next().unwrap().to_owned(),
            headers: 0,
            token: None,
            body: None,
        };
        for word in words {
            match word.split_once('=').unwrap() {
                ("headers", number) => step.headers = number.parse().unwrap(),
                ("token", number) => step.token = Some(number.parse().unwrap()),
                ("body", what) => step.body = Some(what.to_owned()),
                other => panic!("{other:?}"),
            }
        }
        step
    }

    /// The number of the upload session that this request goes to, and what it adds to its path.
    fn session(&self) -> Option<(usize, &str)> {
        let rest = self.target.strip_prefix("session=")?;
        let end = rest.find('&').unwrap_or(rest.len());
        Some((rest[..end].parse().unwrap(), &rest[end..]))
    }
}

impl Token {
    fn parse(text: &str) -> Self {
        let mut words = text.split(' ');
        let subject = words.next().unwrap().to_owned();
        let access = words
            .map(|word| {
                let (repository, actions) = word.rsplit_once(':').unwrap();
                let actions = actions.split(',').filter(|it| !it.is_empty());
                (repository.to_owned(), actions.map(str::to_owned).collect())
            })
            .collect();
        Self { subject, access }
    }

    fn signed(&self, issuer: &TokenIssuer) -> String {
        let actions: Vec<Vec<_>> = self
            .access
            .iter()
            .map(|(_, actions)| actions.iter().map(String::as_str).collect())
            .collect();
        let access: Vec<_> = self
            .access
            .iter()
            .zip(&actions)
            .map(|((repository, _), actions)| (repository.as_str(), actions.as_slice()))
            .collect();
        issuer.token(&self.subject, &access)
    }
}

/// As docker sends a layer.
fn in_chunks(bytes: &[u8]) -> Vec<u8> {
    let mut coded = Vec::new();
    for chunk in bytes.chunks(32 << 10).chain([&[][..]]) {
        let mut size = String::new();
        write!(size, "{:x}\r\n", chunk.len()).unwrap();
        coded.extend_from_slice(size.as_bytes());
        coded.extend_from_slice(chunk);
        coded.extend_from_slice(b"\r\n");
    }
    coded
}
