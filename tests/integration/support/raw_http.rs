//! A small blocking HTTP/1.1 client that sends exactly the bytes it is given.

use super::PATIENCE;
use std::fmt::Write as _;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{IpAddr, TcpStream};

#[derive(Debug, Clone)]
pub struct Answer {
    pub status: u16,
    /// In the order in which they came, names as they were spelt.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(key, _)| key.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The answer itself, if it has the status that was expected.
    #[track_caller]
    pub fn expect(self, status: u16) -> Self {
        assert_eq!(
            self.status,
            status,
            "{:?}\n{}",
            self.headers,
            self.text().chars().take(2000).collect::<String>()
        );
        self
    }

    /// The Location without scheme and host, as a client sends it in its next request line.
    #[track_caller]
    pub fn location_path(&self) -> String {
        let location = self.header("Location").expect("an answer with a Location");
        match location.split_once("://") {
            Some((_, rest)) => rest[rest.find('/').expect("a path")..].to_owned(),
            None => location.to_owned(),
        }
    }
}

pub struct Connection {
    stream: BufReader<TcpStream>,
}

impl Connection {
    pub fn to(port: u16) -> io::Result<Self> {
        Self::over(IpAddr::from([127, 0, 0, 1]), port)
    }

    /// To this address of the machine.
    pub fn over(address: IpAddr, port: u16) -> io::Result<Self> {
        let stream = TcpStream::connect((address, port))?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        stream.set_nodelay(true)?;
        Ok(Self {
            stream: BufReader::new(stream),
        })
    }

    pub fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.get_mut().write_all(bytes)
    }

    /// One chunk of a `Transfer-Encoding: chunked` body; an empty one ends it.
    pub fn write_chunk(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.write(format!("{:x}\r\n", bytes.len()).as_bytes())?;
        self.write(bytes)?;
        self.write(b"\r\n")
    }

    /// Status and headers; the body is left unread. An interim 1xx is an answer like any other.
    pub fn head(&mut self) -> io::Result<Answer> {
        let status_line = self.line()?;
        let status = status_line
            .split(' ')
            .nth(1)
            .and_then(|code| code.parse().ok())
            .ok_or_else(|| broken(&format!("status line {status_line:?}")))?;
        let mut headers = Vec::new();
        loop {
            let line = self.line()?;
            if line.is_empty() {
                break;
            }
            let (name, value) = line.split_once(':').ok_or_else(|| broken(&line))?;
            headers.push((name.to_owned(), value.trim().to_owned()));
        }
        Ok(Answer {
            status,
            headers,
            body: Vec::new(),
        })
    }

    /// Hands the body that follows `head` to `sink`, piece by piece.
    pub fn body(&mut self, head: &Answer, mut sink: impl FnMut(&[u8])) -> io::Result<()> {
        if let Some(coding) = head.header("Transfer-Encoding") {
            assert_eq!(coding, "chunked");
            loop {
                let line = self.line()?;
                let size = line.split(';').next().unwrap_or_default();
                let size = u64::from_str_radix(size, 16).map_err(|_| broken(&line))?;
                self.piece(size, &mut sink)?;
                self.line()?;
                if size == 0 {
                    return Ok(());
                }
            }
        }
        match head.header("Content-Length") {
            Some(length) => self.piece(length.parse().expect("a length"), &mut sink),
            None => self.rest(sink),
        }
    }

    /// The whole answer to a request of this method; interim answers are passed over.
    pub fn answer(&mut self, method: &str) -> io::Result<Answer> {
        let mut answer = self.head()?;
        while (100..200).contains(&answer.status) {
            answer = self.head()?;
        }
        if method != "HEAD" && answer.status != 204 && answer.status != 304 {
            let mut body = Vec::new();
            self.body(&answer, |piece| body.extend_from_slice(piece))?;
            answer.body = body;
        }
        Ok(answer)
    }

    /// Every byte of an answer whose length its head gives.
    pub fn raw_answer(&mut self) -> io::Result<Vec<u8>> {
        let mut raw = Vec::new();
        let mut length = 0;
        loop {
            let start = raw.len();
            self.stream.read_until(b'\n', &mut raw)?;
            let line = String::from_utf8_lossy(&raw[start..]).to_ascii_lowercase();
            if let Some(value) = line.strip_prefix("content-length:") {
                length = value.trim().parse().map_err(|_| broken(&line))?;
            }
            match &*line {
                "\r\n" => break,
                line if line.ends_with("\r\n") => {}
                _ => return Err(broken(&line)),
            }
        }
        self.piece(length, &mut |bytes| raw.extend_from_slice(bytes))?;
        Ok(raw)
    }

    fn line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        self.stream.read_line(&mut line)?;
        match line.strip_suffix("\r\n") {
            Some(line) => Ok(line.to_owned()),
            None => Err(broken(&format!("line {line:?}"))),
        }
    }

    fn piece(&mut self, length: u64, sink: &mut impl FnMut(&[u8])) -> io::Result<()> {
        let mut left = length;
        let mut buffer = vec![0; 1 << 16];
        while left > 0 {
            let most = buffer
                .len()
                .min(usize::try_from(left).unwrap_or(usize::MAX));
            let count = self.stream.read(&mut buffer[..most])?;
            if count == 0 {
                return Err(broken(&format!("body ended {left} bytes early")));
            }
            sink(&buffer[..count]);
            left -= count as u64;
        }
        Ok(())
    }

    fn rest(&mut self, mut sink: impl FnMut(&[u8])) -> io::Result<()> {
        let mut buffer = vec![0; 1 << 16];
        loop {
            match self.stream.read(&mut buffer)? {
                0 => return Ok(()),
                count => sink(&buffer[..count]),
            }
        }
    }
}

fn broken(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::UnexpectedEof, what.to_owned())
}

/// One request on a connection of its own.
#[derive(Debug, Clone)]
pub struct Request {
    pub method: String,
    pub target: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Request {
    pub fn new(method: &str, target: &str) -> Self {
        Self {
            method: method.to_owned(),
            target: target.to_owned(),
            headers: Vec::new(),
            body: Vec::new(),
        }
    }

    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    pub fn body(mut self, bytes: &[u8]) -> Self {
        bytes.clone_into(&mut self.body);
        self
    }

    /// Host and Content-Length are added where the caller has not set them, and no length to a
    /// body in chunks.
    pub fn bytes(&self, port: u16) -> Vec<u8> {
        let has = |name: &str| {
            self.headers
                .iter()
                .any(|(key, _)| key.eq_ignore_ascii_case(name))
        };
        let mut text = format!("{} {} HTTP/1.1\r\n", self.method, self.target);
        if !has("Host") {
            write!(text, "Host: 127.0.0.1:{port}\r\n").unwrap();
        }
        for (name, value) in &self.headers {
            write!(text, "{name}: {value}\r\n").unwrap();
        }
        let bodyless = self.body.is_empty() && ["GET", "HEAD", "DELETE"].contains(&&*self.method);
        if !bodyless && !has("Content-Length") && !has("Transfer-Encoding") {
            write!(text, "Content-Length: {}\r\n", self.body.len()).unwrap();
        }
        let mut bytes = (text + "\r\n").into_bytes();
        bytes.extend_from_slice(&self.body);
        bytes
    }

    pub fn try_send(&self, port: u16) -> io::Result<Answer> {
        self.try_over(Connection::to(port)?, port)
    }

    /// On a connection that carries nothing else; `port` stands in the Host.
    pub fn try_over(&self, mut connection: Connection, port: u16) -> io::Result<Answer> {
        connection.write(&self.bytes(port))?;
        connection.answer(&self.method)
    }

    #[track_caller]
    pub fn send(&self, port: u16) -> Answer {
        self.try_send(port)
            .unwrap_or_else(|error| panic!("{} {}: {error}", self.method, self.target))
    }
}

pub fn get(port: u16, target: &str) -> Answer {
    Request::new("GET", target).send(port)
}
