//! Stands between a sink and its warehouse. It passes every request on, but treats an INSERT as it is told to.
//!
//! It looks at no more of HTTP than it must: one request for each connection, whose bytes go on as they came.

use std::io::{self, BufRead, BufReader, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;

use warehouse::Endpoint;

/// What stands in the path before the table's name.
const INSERT: &str = "INSERT+INTO+";
const DONE: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
const FAILED: &[u8] =
    b"HTTP/1.1 500 Internal Server Error\r\ncontent-length: 2\r\nconnection: close\r\n\r\nno";

/// How an INSERT is treated.
#[derive(Debug, Clone, Copy)]
pub enum Treatment {
    /// It goes on, and so does its answer.
    Pass,
    /// It is done, and the answer is 500.
    FailAfterwards,
    /// It is done, and no answer ever comes.
    NeverAnswer,
    /// It does not go on, and no answer ever comes.
    Swallow,
    /// It does not go on, and the answer is that it is done.
    Lie,
    /// Half of its body goes on; then this is called, and both connections are cut.
    Halfway(fn()),
}

/// How INSERTs into a table are treated, each anew.
type Judge = Arc<dyn Fn(&str) -> Treatment + Send + Sync>;

/// Between one sink and its warehouse.
pub struct Proxy {
    warehouse: String,
    judge: Judge,
}

/// A request, as it came.
struct Request {
    head: Vec<u8>,
    body: Vec<u8>,
}

impl Proxy {
    /// Begins to stand before a warehouse, until the process ends, and gives the address to be used instead.
    ///
    /// # Panics
    /// If no port can be had.
    #[allow(clippy::expect_used, reason = "a test without a port has failed")]
    pub fn before(endpoint: Endpoint, judge: impl Fn(&str) -> Treatment + Send + Sync + 'static) -> Endpoint {
        let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).expect("no free port");
        let address = listener.local_addr().expect("a listener without an address");
        let warehouse = endpoint.url.trim_start_matches("http://").trim_end_matches('/').to_owned();
        let proxy = Arc::new(Self { warehouse, judge: Arc::new(judge) });
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let proxy = Arc::clone(&proxy);
                // Either side may go away at any time: that is what this is for.
                thread::spawn(move || drop(proxy.serve(client)));
            }
        });
        Endpoint { url: format!("http://{address}"), ..endpoint }
    }

    fn serve(&self, client: TcpStream) -> io::Result<()> {
        let mut reader = BufReader::new(client.try_clone()?);
        let Some(request) = Request::read(&mut reader)? else { return Ok(()) };
        let treatment = request.table().map_or(Treatment::Pass, |table| (self.judge)(&table));
        let mut client = client;
        match treatment {
            Treatment::Pass => client.write_all(&self.ask(&request)?),
            Treatment::FailAfterwards => {
                self.ask(&request)?;
                client.write_all(FAILED)
            }
            Treatment::NeverAnswer => {
                self.ask(&request)?;
                until_gone(&mut client)
            }
            Treatment::Swallow => until_gone(&mut client),
            Treatment::Lie => client.write_all(DONE),
            Treatment::Halfway(then) => {
                let mut warehouse = self.send(&request.head, &request.body[..request.body.len() / 2])?;
                warehouse.flush()?;
                then();
                warehouse.shutdown(Shutdown::Both)?;
                client.shutdown(Shutdown::Both)
            }
        }
    }

    fn send(&self, head: &[u8], body: &[u8]) -> io::Result<TcpStream> {
        let mut warehouse = TcpStream::connect(&self.warehouse)?;
        warehouse.write_all(head)?;
        warehouse.write_all(body)?;
        Ok(warehouse)
    }

    /// The whole answer to a request.
    fn ask(&self, request: &Request) -> io::Result<Vec<u8>> {
        let mut answer = Vec::new();
        self.send(&request.head, &request.body)?.read_to_end(&mut answer)?;
        Ok(answer)
    }
}

fn until_gone(client: &mut TcpStream) -> io::Result<()> {
    client.read_to_end(&mut Vec::new()).map(drop)
}

impl Request {
    /// The next request of a connection; `None` if its client is gone. Its head asks for one answer alone.
    fn read(reader: &mut impl BufRead) -> io::Result<Option<Self>> {
        let mut head = Vec::new();
        loop {
            let start = head.len();
            if reader.read_until(b'\n', &mut head)? == 0 {
                return Ok(None);
            }
            if head[start..] == *b"\r\n" {
                head.truncate(start);
                break;
            }
        }
        let text = String::from_utf8_lossy(&head).to_ascii_lowercase();
        let field = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
        let mut body = Vec::new();
        if field("transfer-encoding:") == Some("chunked") {
            while read_chunk(reader, &mut body)? {}
        } else if let Some(length) = field("content-length:").and_then(|length| length.parse().ok()) {
            reader.take(length).read_to_end(&mut body)?;
        }
        head.extend_from_slice(b"connection: close\r\n\r\n");
        Ok(Some(Self { head, body }))
    }

    /// The table, if it is an INSERT.
    fn table(&self) -> Option<String> {
        let line = self.head.split(|byte| *byte == b'\r').next()?;
        let after = String::from_utf8_lossy(line).split_once(INSERT)?.1.to_owned();
        Some(after.split('+').next()?.to_owned())
    }
}

/// Reads one chunk with its frame; false if it was the last.
fn read_chunk(reader: &mut impl BufRead, body: &mut Vec<u8>) -> io::Result<bool> {
    let start = body.len();
    reader.read_until(b'\n', body)?;
    let size = String::from_utf8_lossy(&body[start..]).trim().to_owned();
    let size = u64::from_str_radix(&size, 16).map_err(|_| io::Error::from(io::ErrorKind::InvalidData))?;
    // The end of the chunk's own line comes behind it.
    reader.take(size + 2).read_to_end(body)?;
    Ok(size > 0)
}
