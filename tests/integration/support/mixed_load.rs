//! A client that does everything a registry's clients do, to a registry alone and to one behind
//! the sidecar, step by step, and wants the same of both.

use super::image::Image;
use super::raw_http::{Answer, Connection, Request};
use super::registry_client::{closing, mount_target};
use super::{base64, bytes_from, digest_of};
use std::collections::BTreeMap;
use std::io;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

pub const USER: &str = "alice";
pub const PASSWORD: &str = "right";
/// Layers that every client mounts, each in a source of its own.
pub const SHARED: usize = 20;
/// Repositories of a client's own: more would only fill the disk.
const OWN: u64 = 50;

/// A layer that is there from the beginning.
#[derive(Debug)]
pub struct Layer {
    pub repository: String,
    pub bytes: Vec<u8>,
    pub digest: String,
}

pub fn layers() -> &'static [Layer] {
    static LAYERS: OnceLock<Vec<Layer>> = OnceLock::new();
    LAYERS.get_or_init(|| {
        let layer = |number| {
            let repository = format!("base/{number}");
            let bytes = bytes_from(&repository, 1000_usize << (number % 8));
            Layer {
                digest: digest_of(&bytes),
                repository,
                bytes,
            }
        };
        (0..SHARED).map(layer).collect()
    })
}

/// What is pushed: hashed once, not with each push.
fn images() -> &'static [Image] {
    static IMAGES: OnceLock<Vec<Image>> = OnceLock::new();
    IMAGES.get_or_init(|| {
        let size = |number| if number % 8 == 0 { 1 << 20 } else { 5000 };
        let image = |number: usize| Image::of(&[&format!("image {number}")], size(number));
        (0..24).map(image).collect()
    })
}

/// How long one step took alone and behind.
#[derive(Debug, Clone, Copy)]
pub struct Timed {
    pub step: Step,
    pub at: Instant,
    pub alone: Duration,
    pub behind: Duration,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Step {
    Push,
    Pull,
    Mount,
    Miss,
    Head,
    Delete,
    Refused,
    BrokenOff,
}

const STEPS: [Step; 16] = [
    Step::Push,
    Step::Pull,
    Step::Pull,
    Step::Pull,
    Step::Pull,
    Step::Mount,
    Step::Mount,
    Step::Mount,
    Step::Mount,
    Step::Miss,
    Step::Head,
    Step::Head,
    Step::Head,
    Step::Delete,
    Step::Refused,
    Step::BrokenOff,
];

/// One end: a port, and a kept connection to it.
struct End {
    port: u16,
    connection: Option<Connection>,
}

impl End {
    fn ask(&mut self, method: &str, request: &Request) -> io::Result<Answer> {
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => Connection::to(self.port)?,
        };
        connection.write(&request.bytes(self.port))?;
        let answer = connection.answer(method)?;
        let closes = answer
            .header("Connection")
            .is_some_and(|it| it.eq_ignore_ascii_case("close"));
        self.connection = (!closes).then_some(connection);
        Ok(answer)
    }
}

/// A client of both.
pub struct Mixed {
    number: u64,
    random: u64,
    alone: End,
    behind: End,
    login: String,
    pub timed: Vec<Timed>,
    pub steps: BTreeMap<Step, u64>,
    /// What did not come out as by the registry alone.
    pub wrong: Vec<String>,
}

impl Mixed {
    pub fn new(number: u64, alone: u16, behind: u16) -> Self {
        let end = |port| End {
            port,
            connection: None,
        };
        Self {
            number,
            random: number * 0x9e37_79b9 + 1,
            alone: end(alone),
            behind: end(behind),
            login: base64(format!("{USER}:{PASSWORD}").as_bytes()),
            timed: Vec::new(),
            steps: BTreeMap::new(),
            wrong: Vec::new(),
        }
    }

    /// A number below `most`, by xorshift: the same ones in each run.
    fn any(&mut self, most: u64) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random % most
    }

    fn own(&mut self) -> String {
        let app = self.any(OWN);
        format!("team{}/app{app}", self.number)
    }

    fn one_of<T>(&mut self, all: &'static [T]) -> &'static T {
        let number = self.any(all.len() as u64);
        &all[usize::try_from(number).unwrap()]
    }

    fn shared(&mut self) -> &'static Layer {
        self.one_of(layers())
    }

    /// Does the next step to both, first to one or to the other.
    pub fn step(&mut self) {
        let step = STEPS[usize::try_from(self.any(16)).unwrap()];
        let (seed, behind_first) = (self.random, self.any(2) == 0);
        let at = Instant::now();
        let mut took = [Duration::ZERO; 2];
        let mut said = [const { String::new() }; 2];
        for turn in 0..2 {
            let is_behind = (turn == 0) == behind_first;
            self.random = seed;
            let began = Instant::now();
            let done = self.do_to(step, is_behind);
            took[usize::from(is_behind)] = began.elapsed();
            said[usize::from(is_behind)] = done.unwrap_or_else(|error| format!("broken: {error}"));
        }
        *self.steps.entry(step).or_default() += 1;
        let [alone, behind] = took;
        self.timed.push(Timed {
            step,
            at,
            alone,
            behind,
        });
        let [alone, behind] = said;
        if alone != behind && self.wrong.len() < 20 {
            self.wrong
                .push(format!("{step:?}: alone {alone}, behind {behind}"));
        }
    }

    fn ask(
        &mut self,
        is_behind: bool,
        method: &str,
        target: &str,
        body: &[u8],
    ) -> io::Result<Answer> {
        let login = format!("Basic {}", self.login);
        let request = Request::new(method, target)
            .header("Authorization", &login)
            .header("Content-Type", super::image::MANIFEST_TYPE)
            .body(body);
        self.end(is_behind).ask(method, &request)
    }

    fn end(&mut self, is_behind: bool) -> &mut End {
        if is_behind {
            &mut self.behind
        } else {
            &mut self.alone
        }
    }

    /// What came out of it, in words that are the same wherever it is done.
    fn do_to(&mut self, step: Step, behind: bool) -> io::Result<String> {
        match step {
            Step::Push => self.push(behind),
            Step::Pull => self.pull(behind),
            Step::Mount => self.mount(behind),
            Step::Miss => self.miss(behind),
            Step::Head => self.head(behind),
            Step::Delete => self.delete(behind),
            Step::Refused => self.refused(behind),
            Step::BrokenOff => self.broken_off(behind),
        }
    }

    fn upload(&mut self, behind: bool, name: &str, bytes: &[u8], digest: &str) -> io::Result<u16> {
        let opened = self.ask(behind, "POST", &format!("/v2/{name}/blobs/uploads/"), b"")?;
        if opened.status != 202 {
            return Ok(opened.status);
        }
        let target = closing(&opened, digest);
        Ok(self.ask(behind, "PUT", &target, bytes)?.status)
    }

    fn push(&mut self, behind: bool) -> io::Result<String> {
        let name = self.own();
        let image = self.one_of(images());
        let mut said = Vec::new();
        for blob in image.blobs() {
            said.push(self.upload(behind, &name, &blob.bytes, &blob.digest)?);
        }
        let target = format!("/v2/{name}/manifests/latest");
        said.push(
            self.ask(behind, "PUT", &target, &image.manifest.bytes)?
                .status,
        );
        let pulled = self.ask(behind, "GET", &target, b"")?;
        Ok(format!(
            "{said:?} {} {}",
            pulled.status,
            pulled.body == image.manifest.bytes
        ))
    }

    fn pull(&mut self, behind: bool) -> io::Result<String> {
        let layer = self.shared();
        let target = format!("/v2/{}/blobs/{}", layer.repository, layer.digest);
        let pulled = self.ask(behind, "GET", &target, b"")?;
        Ok(format!("{} {}", pulled.status, pulled.body == layer.bytes))
    }

    fn mount(&mut self, behind: bool) -> io::Result<String> {
        let (layer, name) = (self.shared(), self.own());
        let target = mount_target(&name, &layer.digest, &layer.repository);
        let mounted = self.ask(behind, "POST", &target, b"")?.status;
        let blob = format!("/v2/{name}/blobs/{}", layer.digest);
        let there = self.ask(behind, "HEAD", &blob, b"")?.status;
        let pulled = self.ask(behind, "GET", &blob, b"")?.body == layer.bytes;
        Ok(format!("{mounted} {there} {pulled}"))
    }

    fn miss(&mut self, behind: bool) -> io::Result<String> {
        let (name, layer) = (self.own(), self.shared());
        let bytes = bytes_from(&format!("{name} {}", self.any(4)), 100);
        let target = mount_target(&name, &digest_of(&bytes), &layer.repository);
        let opened = self.ask(behind, "POST", &target, b"")?;
        if opened.status != 202 {
            return Ok(format!("{}", opened.status));
        }
        let ended = self.ask(behind, "PUT", &closing(&opened, &digest_of(&bytes)), &bytes)?;
        Ok(format!("202 {}", ended.status))
    }

    fn head(&mut self, behind: bool) -> io::Result<String> {
        let (name, layer) = (self.own(), self.shared());
        let blob = format!("/v2/{name}/blobs/{}", layer.digest);
        let blob = self.ask(behind, "HEAD", &blob, b"")?.status;
        let manifest = format!("/v2/{name}/manifests/latest");
        let manifest = self.ask(behind, "HEAD", &manifest, b"")?.status;
        let none = self
            .ask(behind, "GET", "/v2/nobody/manifests/none", b"")?
            .status;
        Ok(format!("{blob} {manifest} {none}"))
    }

    fn delete(&mut self, behind: bool) -> io::Result<String> {
        let (name, layer) = (self.own(), self.shared());
        let blob = format!("/v2/{name}/blobs/{}", layer.digest);
        let deleted = self.ask(behind, "DELETE", &blob, b"")?.status;
        let gone = self.ask(behind, "HEAD", &blob, b"")?.status;
        Ok(format!("{deleted} {gone}"))
    }

    /// Who has no login or a wrong one, and who cannot be understood.
    fn refused(&mut self, behind: bool) -> io::Result<String> {
        let (layer, name) = (self.shared(), self.own());
        let target = mount_target(&name, &layer.digest, &layer.repository);
        let mount = Request::new("POST", &target);
        let none = self.end(behind).ask("POST", &mount)?.status;
        let wrong = base64(format!("{USER}:wrong").as_bytes());
        let mount = mount.header("Authorization", &format!("Basic {wrong}"));
        let wrong = self.end(behind).ask("POST", &mount)?.status;
        let mut connection = Connection::to(self.end(behind).port)?;
        connection.write(b"PUT /v2/ HTTP/1.1\r\nHost: a\r\nContent-Length: x\r\n\r\n")?;
        let odd = connection.head()?.status;
        Ok(format!("{none} {wrong} {odd}"))
    }

    /// A client that goes away in the middle, up and down.
    fn broken_off(&mut self, behind: bool) -> io::Result<String> {
        let (layer, name) = (self.shared(), self.own());
        let opened = self.ask(behind, "POST", &format!("/v2/{name}/blobs/uploads/"), b"")?;
        if opened.status != 202 {
            return Ok(format!("{}", opened.status));
        }
        let login = format!("Basic {}", self.login);
        let port = self.end(behind).port;
        let put = Request::new("PUT", &closing(&opened, &digest_of(b"never whole")))
            .header("Authorization", &login)
            .header("Content-Length", "1000000");
        let mut connection = Connection::to(port)?;
        connection.write(&put.bytes(port))?;
        connection.write(&layer.bytes)?;
        drop(connection);
        let blob = format!("/v2/{}/blobs/{}", layer.repository, layer.digest);
        let get = Request::new("GET", &blob).header("Authorization", &login);
        let mut connection = Connection::to(port)?;
        connection.write(&get.bytes(port))?;
        let head = connection.head()?.status;
        Ok(format!("202 {head}"))
    }
}
