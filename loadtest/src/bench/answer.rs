//! Answers, as far as a measurement looks at them: the status, the receipt, and where the next one begins.

/// The longest head of an answer.
const MAX_HEAD_BYTES: usize = 16 * 1024;
const MAX_HEADERS: usize = 48;
/// How a body in chunks ends.
const LAST_CHUNK: &[u8] = b"0\r\n\r\n";

/// What makes an answer a good one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Expected {
    pub(crate) status: u16,
    /// A recorded event has a receipt; without it the request was answered and not counted.
    pub(crate) has_receipt: bool,
}

/// A complete answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) is_expected: bool,
    pub(crate) closes: bool,
}

/// How much of an answer is still to come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rest {
    Head,
    Bytes(u64),
    Chunks([u8; LAST_CHUNK.len()]),
}

/// Takes the bytes of answers in any pieces.
#[derive(Debug)]
pub(crate) struct Parser {
    expected: Expected,
    /// A head that came in pieces; empty nearly always.
    head: Vec<u8>,
    rest: Rest,
    answer: Answer,
}

impl Parser {
    pub(crate) fn new(expected: Expected) -> Self {
        let answer = Answer { is_expected: false, closes: false };
        Self { expected, head: Vec::new(), rest: Rest::Head, answer }
    }

    /// Takes what was read; an answer once it is complete. Only one request is under way at a time, so what is more than
    /// one answer, or no answer at all, makes the connection worthless.
    pub(crate) fn take(&mut self, bytes: &[u8]) -> Option<Answer> {
        let body = match self.rest {
            Rest::Head if self.head.is_empty() => match self.read_head(bytes) {
                Ok(Some(length)) => &bytes[length..],
                Ok(None) => {
                    self.head.extend_from_slice(bytes);
                    return None;
                }
                Err(()) => return Some(self.worthless()),
            },
            Rest::Head => {
                let before = self.head.len();
                self.head.extend_from_slice(bytes);
                let head = std::mem::take(&mut self.head);
                match self.read_head(&head) {
                    Ok(Some(length)) => &bytes[length - before..],
                    Ok(None) if head.len() < MAX_HEAD_BYTES => {
                        self.head = head;
                        return None;
                    }
                    Ok(None) | Err(()) => return Some(self.worthless()),
                }
            }
            Rest::Bytes(_) | Rest::Chunks(_) => bytes,
        };
        self.read_body(body)
    }

    fn worthless(&self) -> Answer {
        Answer { is_expected: false, closes: true }
    }

    fn read_body(&mut self, body: &[u8]) -> Option<Answer> {
        let is_complete = match &mut self.rest {
            Rest::Head => false,
            Rest::Bytes(left) => {
                if body.len() as u64 > *left {
                    return Some(self.worthless());
                }
                *left -= body.len() as u64;
                *left == 0
            }
            Rest::Chunks(last) => {
                let from = body.len().saturating_sub(last.len());
                let new = &body[from..];
                last.rotate_left(new.len());
                let at = last.len() - new.len();
                last[at..].copy_from_slice(new);
                last == LAST_CHUNK
            }
        };
        if !is_complete {
            return None;
        }
        self.rest = Rest::Head;
        Some(self.answer)
    }

    /// The length of a complete head.
    fn read_head(&mut self, bytes: &[u8]) -> Result<Option<usize>, ()> {
        let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
        let mut response = httparse::Response::new(&mut headers);
        let length = match response.parse(bytes) {
            Ok(httparse::Status::Complete(length)) => length,
            Ok(httparse::Status::Partial) => return Ok(None),
            Err(_) => return Err(()),
        };
        let (mut has_receipt, mut closes, mut rest) = (false, false, Rest::Bytes(0));
        for header in response.headers.iter() {
            // By length first: most headers are none of these.
            match header.name.len() {
                9 => has_receipt |= header.name.eq_ignore_ascii_case("x-receipt"),
                10 if header.name.eq_ignore_ascii_case("connection") => {
                    closes |= header.value.eq_ignore_ascii_case(b"close");
                }
                14 if header.name.eq_ignore_ascii_case("content-length") => {
                    let text = std::str::from_utf8(header.value).map_err(|_| ())?;
                    rest = Rest::Bytes(text.trim().parse().map_err(|_| ())?);
                }
                17 if header.name.eq_ignore_ascii_case("transfer-encoding") => {
                    rest = Rest::Chunks([0; LAST_CHUNK.len()]);
                }
                _ => {}
            }
        }
        let is_expected =
            response.code == Some(self.expected.status) && (has_receipt || !self.expected.has_receipt);
        self.answer = Answer { is_expected, closes };
        self.rest = rest;
        Ok(Some(length))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REDIRECT: &[u8] =
        b"HTTP/1.1 302 Found\r\nX-Receipt: evt_1\r\nContent-Length: 5\r\nLocation: /\r\n\r\nhello";
    const CHUNKED: &[u8] =
        b"HTTP/1.1 302 Found\r\nx-receipt: evt_1\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n";

    fn parser() -> Parser {
        Parser::new(Expected { status: 302, has_receipt: true })
    }

    #[test]
    fn an_answer_is_whole_in_whatever_pieces_it_comes() {
        for answer in [REDIRECT, CHUNKED] {
            for cut in 1..answer.len() {
                let mut parser = parser();
                assert_eq!(parser.take(&answer[..cut]), None, "cut at {cut}");
                let whole = parser.take(&answer[cut..]);
                assert_eq!(whole, Some(Answer { is_expected: true, closes: false }), "cut at {cut}");
                assert!(parser.take(answer).unwrap().is_expected, "the next one, after a cut at {cut}");
            }
        }
    }

    #[test]
    fn what_is_not_wanted_is_not_counted() {
        let told = |bytes: &[u8]| parser().take(bytes).unwrap();
        assert!(!told(b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\n\r\n").is_expected);
        assert!(!told(b"HTTP/1.1 503 No\r\nX-Receipt: evt_1\r\nContent-Length: 0\r\n\r\n").is_expected);
        assert!(told(b"HTTP/1.1 302 Found\r\nConnection: close\r\nContent-Length: 0\r\n\r\n").closes);
        assert!(told(b"nonsense\r\n\r\n").closes);
        assert!(told(&[REDIRECT, REDIRECT].concat()).closes, "more than was asked for");
    }
}
