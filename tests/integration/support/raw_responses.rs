//! Sends smuggling attempts as raw bytes, and reads which requests the responses belong to.

use super::figures::note;
use super::smuggling::SmugglingAttempt;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// Connections at once: most of them wait.
const AT_ONCE: usize = 32;

/// How the bytes are sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SendMode {
    /// All at once.
    Burst,
    /// The last request when the first is answered.
    InTurn,
    /// In pieces of so many bytes.
    Pieces(usize),
}

/// An answer's status, and which request of which variant it is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct About {
    pub status: u16,
    pub marker: Option<String>,
}

/// Looks at each variant, many at once; what is wrong with them.
pub fn judge_each(
    variants: &[SmugglingAttempt],
    judge: impl Fn(&SmugglingAttempt) -> Result<(), String> + Sync,
) -> Vec<String> {
    let (next, wrong) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                while let Some(variant) = variants.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if let Err(what) = judge(variant) {
                        let name = &variant.name;
                        wrong.lock().unwrap().push(format!("{what}\n    {name}"));
                    }
                }
            });
        }
    });
    wrong.into_inner().unwrap()
}

/// Wants nothing to be wrong with the variants, and that there were any; notes the row.
#[track_caller]
pub fn conclude(tried: &str, variants: &[SmugglingAttempt], wrong: &[String], happened: &str) {
    let (many, plain) = (variants.len(), variants.iter().filter(|it| it.is_plain()));
    assert!(many >= 1000 && plain.count() >= 50, "only {many} variants");
    assert!(
        wrong.is_empty(),
        "{} wrong:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
    note("Hostile clients", tried, many as u64, happened);
}

impl SmugglingAttempt {
    /// Sends the variant and reads answers until the connection ends, or is quiet for so long.
    pub fn send(&self, port: u16, manner: SendMode, quiet: Duration) -> Vec<About> {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(quiet)).unwrap();
        let mut got = Vec::new();
        // Whoever refuses a request closes the connection, perhaps before all of it is sent.
        let _ = self.write(&mut stream, manner, &mut got);
        read(&mut stream, &mut got, |_| false);
        answers(&got).0
    }

    fn write(&self, stream: &mut TcpStream, manner: SendMode, got: &mut Vec<u8>) -> io::Result<()> {
        let all = [&*self.first, &*self.last].concat();
        match manner {
            SendMode::Burst => stream.write_all(&all),
            SendMode::InTurn => {
                stream.write_all(&self.first)?;
                read(stream, got, |got| !answers(got).0.is_empty());
                stream.write_all(&self.last)
            }
            SendMode::Pieces(size) => {
                for piece in all.chunks(size) {
                    stream.write_all(piece)?;
                    std::thread::sleep(Duration::from_millis(1));
                }
                Ok(())
            }
        }
    }
}

/// Sends these bytes at once and reads answers until the connection ends, or is quiet for so long.
pub fn send(port: u16, bytes: &[u8], quiet: Duration) -> Vec<About> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_read_timeout(Some(quiet)).unwrap();
    // Whoever refuses a request closes the connection, perhaps before all of it is sent.
    let _ = stream.write_all(bytes);
    let mut got = Vec::new();
    read(&mut stream, &mut got, |_| false);
    answers(&got).0
}

pub fn read(stream: &mut TcpStream, got: &mut Vec<u8>, is_enough: impl Fn(&[u8]) -> bool) {
    let mut buffer = [0; 1 << 14];
    while let Ok(count) = stream.read(&mut buffer)
        && count > 0
    {
        got.extend_from_slice(&buffer[..count]);
        if is_enough(got) {
            return;
        }
    }
}

/// The whole answers in these bytes, and what follows them.
pub fn answers(bytes: &[u8]) -> (Vec<About>, &[u8]) {
    let mut found = Vec::new();
    let mut rest = bytes;
    while let Some((about, after)) = answer(rest) {
        found.push(about);
        rest = after;
    }
    (found, rest)
}

fn answer(bytes: &[u8]) -> Option<(About, &[u8])> {
    let end = bytes.windows(4).position(|it| it == b"\r\n\r\n")? + 4;
    let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
    let status = head.strip_prefix("HTTP/1.")?.get(2..5)?.parse().ok()?;
    let field = |name: &str| {
        head.lines().find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name)
                .then(|| value.trim().to_owned())
        })
    };
    let rest = &bytes[end..];
    let (body, rest) = if let Some(length) = field("Content-Length") {
        rest.split_at_checked(length.parse().ok()?)?
    } else if field("Transfer-Encoding").is_some() {
        let end = rest.windows(7).position(|it| it == b"\r\n0\r\n\r\n")? + 7;
        rest.split_at(end)
    } else {
        (rest, &[][..])
    };
    let said = field("Location").unwrap_or_default() + &String::from_utf8_lossy(body);
    let marker = ["first", "hidden", "last"].iter().find_map(|kind| {
        let start = said.find(&format!("{kind}-"))?;
        let end = said[start..].find('x')?;
        Some(said[start..=start + end].to_owned())
    });
    Some((About { status, marker }, rest))
}
