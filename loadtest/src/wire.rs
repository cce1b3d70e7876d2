//! HTTP/1.1 over one kept-alive connection, as cheap as it can be: the bytes of a request are built once, of an answer only
//! the head is read.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::Instant;
use url::Url;

use crate::LoadError;

/// An answer's head must fit in here; what is left of the room takes the body, piece by piece.
const BUFFER_BYTES: usize = 32 * 1024;
const MAX_HEADERS: usize = 64;

const FIRST_BACKOFF: Duration = Duration::from_millis(10);
const LONGEST_BACKOFF: Duration = Duration::from_millis(500);

/// The server that is put under load.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// Host and port as the `Host` header names them.
    authority: String,
    host: String,
    port: u16,
    /// What stands before the route, without a slash at the end.
    base: String,
}

impl Target {
    /// Reads `http://host:port/base`.
    pub fn parse(text: &str) -> Result<Self, LoadError> {
        let bad = |reason: &str| LoadError::Url { url: text.to_owned(), reason: reason.to_owned() };
        let url = Url::parse(text).map_err(|error| bad(&error.to_string()))?;
        if url.scheme() != "http" {
            return Err(bad("only http:// can be put under load"));
        }
        let host = url.host_str().ok_or_else(|| bad("it has no host"))?;
        let port = url.port().unwrap_or(80);
        Ok(Self {
            authority: format!("{host}:{port}"),
            host: host.trim_matches(['[', ']']).to_owned(),
            port,
            base: url.path().trim_end_matches('/').to_owned(),
        })
    }

    /// The bytes of a request. Header values hold no line breaks; whoever reads them from a file has seen to it.
    pub fn request(&self, method: &str, path: &str, headers: &[(&str, &str)]) -> Vec<u8> {
        let mut text = format!("{method} {}{path} HTTP/1.1\r\nHost: {}\r\n", self.base, self.authority);
        for (name, value) in headers {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
        text.push_str("\r\n");
        text.into_bytes()
    }

    /// Connects, again and again with growing pauses until `give_up`.
    pub async fn connect(&self, give_up: Instant) -> Result<Connection, LoadError> {
        let mut backoff = FIRST_BACKOFF;
        loop {
            let attempt =
                tokio::time::timeout_at(give_up, TcpStream::connect((self.host.as_str(), self.port))).await;
            let error = match attempt {
                Ok(Ok(stream)) => return Ok(Connection::new(stream)),
                Ok(Err(error)) => error.to_string(),
                Err(_) => "no answer".to_owned(),
            };
            if Instant::now() + backoff > give_up {
                return Err(LoadError::Connect { address: self.authority.clone(), reason: error });
            }
            tokio::time::sleep(backoff).await;
            backoff = (backoff * 2).min(LONGEST_BACKOFF);
        }
    }
}

/// What an answer says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// `X-Receipt`.
    pub receipt: Option<String>,
    /// The click's id in `Location`.
    pub click_id: Option<String>,
    closes: bool,
    length: u64,
}

/// One connection, which carries one request at a time.
#[derive(Debug)]
pub struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
    is_usable: bool,
}

impl Connection {
    fn new(stream: TcpStream) -> Self {
        // Without it a request may wait for the acknowledgement of the one before.
        let is_usable = stream.set_nodelay(true).is_ok();
        Self { stream, buffer: vec![0; BUFFER_BYTES], is_usable }
    }

    /// Whether the connection can carry another request, as far as can be seen without asking: a server closes a
    /// connection that was idle for long, and a request sent on it would be lost.
    pub fn is_usable(&self) -> bool {
        let would_block =
            |result: io::Result<usize>| result.is_err_and(|e| e.kind() == io::ErrorKind::WouldBlock);
        self.is_usable && would_block(self.stream.try_read(&mut [0]))
    }

    /// Sends a request and reads its answer. After an error the connection is of no use any more.
    pub async fn exchange(&mut self, request: &[u8], has_body: bool) -> io::Result<Answer> {
        self.is_usable = false;
        self.stream.write_all(request).await?;
        let mut filled = 0;
        let (head, answer) = loop {
            let read = self.stream.read(&mut self.buffer[filled..]).await?;
            if read == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            filled += read;
            if let Some(parsed) = parse_head(&self.buffer[..filled])? {
                break parsed;
            }
            if filled == self.buffer.len() {
                return Err(bad("an answer's head is longer than 32 KiB"));
            }
        };
        let length = if has_body { answer.length } else { 0 };
        let mut left =
            length.checked_sub((filled - head) as u64).ok_or_else(|| bad("more came than was announced"))?;
        while left > 0 {
            let room = usize::try_from(left).unwrap_or(usize::MAX).min(self.buffer.len());
            let read = self.stream.read(&mut self.buffer[..room]).await?;
            if read == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            left -= read as u64;
        }
        self.is_usable = !answer.closes;
        Ok(answer)
    }
}

fn bad(text: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, text.to_owned())
}

/// The head's length and what it says, or nothing if it is not complete.
fn parse_head(bytes: &[u8]) -> io::Result<Option<(usize, Answer)>> {
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut response = httparse::Response::new(&mut headers);
    let head = match response.parse(bytes).map_err(|error| bad(&error.to_string()))? {
        httparse::Status::Complete(head) => head,
        httparse::Status::Partial => return Ok(None),
    };
    let status = response.code.ok_or_else(|| bad("an answer without a status"))?;
    let mut answer =
        Answer { status, receipt: None, click_id: None, closes: response.version == Some(0), length: 0 };
    for header in response.headers.iter() {
        let name = header.name;
        if name.eq_ignore_ascii_case("content-length") {
            let length = std::str::from_utf8(header.value).ok().and_then(|text| text.trim().parse().ok());
            answer.length = length.ok_or_else(|| bad("a content-length that is no number"))?;
        } else if name.eq_ignore_ascii_case("x-receipt") {
            answer.receipt = Some(String::from_utf8_lossy(header.value).into_owned());
        } else if name.eq_ignore_ascii_case("location") {
            answer.click_id = click_id(header.value);
        } else if name.eq_ignore_ascii_case("connection") {
            answer.closes |= header.value.eq_ignore_ascii_case(b"close");
        } else if name.eq_ignore_ascii_case("transfer-encoding") {
            return Err(bad("an answer in chunks, which only streams need"));
        }
    }
    Ok(Some((head, answer)))
}

/// The first `click_…` in a URL.
fn click_id(location: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(location).ok()?;
    let from = &text[text.find("click_")?..];
    let is_base32 = |character: char| character.is_ascii_lowercase() || character.is_ascii_digit();
    let length = from["click_".len()..].find(|character| !is_base32(character)).map(|at| at + "click_".len());
    Some(from[..length.unwrap_or(from.len())].to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_read_and_a_request_built() {
        let target = Target::parse("http://127.0.0.1:8080/edge/").unwrap();
        let request = target.request("GET", "/c/anna", &[("User-Agent", "x")]);
        assert_eq!(
            String::from_utf8(request).unwrap(),
            "GET /edge/c/anna HTTP/1.1\r\nHost: 127.0.0.1:8080\r\nUser-Agent: x\r\n\r\n"
        );
        assert_eq!(Target::parse("http://[::1]").unwrap().host, "::1");
        assert!(Target::parse("https://x.example").unwrap_err().to_string().contains("only http://"));
        assert!(Target::parse("nonsense").is_err());
    }

    #[test]
    fn a_head_is_read_once_it_is_complete() {
        let head = b"HTTP/1.1 302 Found\r\nlocation: https://x/?cid=click_01abc&a=1\r\nX-Receipt: evt_1\r\n\
            content-length: 5\r\nconnection: close\r\n\r\nhello";
        assert_eq!(parse_head(&head[..60]).unwrap(), None);
        let (length, answer) = parse_head(head).unwrap().unwrap();
        assert_eq!(&head[length..], b"hello");
        assert_eq!((answer.status, answer.length, answer.closes), (302, 5, true));
        assert_eq!(answer.receipt.as_deref(), Some("evt_1"));
        assert_eq!(answer.click_id.as_deref(), Some("click_01abc"));
        assert!(parse_head(b"nonsense\r\n\r\n").is_err());
        assert!(parse_head(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").is_err());
    }
}
