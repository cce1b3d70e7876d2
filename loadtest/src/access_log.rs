//! Access logs in the combined format of Apache and nginx.

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use jiff::Timestamp;

use crate::LoadError;

/// A longer line is skipped: no server writes one.
const MAX_LINE_BYTES: u64 = 64 * 1024;

/// So many bad lines are named; the others are only counted.
const MAX_NAMED_BAD_LINES: usize = 5;

/// One request of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The client's address.
    pub address: String,
    /// When it was answered.
    pub at: Timestamp,
    /// The method.
    pub method: String,
    /// Where the client came from.
    pub referrer: Option<String>,
    /// What the client said that it is.
    pub user_agent: Option<String>,
}

/// A line that is no request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadLine {
    /// Its number, from 1.
    pub line: u64,
    /// What is wrong with it.
    pub reason: &'static str,
}

/// Reads one line of the combined format.
pub fn parse(line: &str) -> Result<Entry, &'static str> {
    let (client, rest) = line.split_once(" [").ok_or("no time in brackets")?;
    let address = client.split(' ').next().filter(|address| !address.is_empty()).ok_or("no address")?;
    let (time, rest) = rest.split_once("] ").ok_or("no time in brackets")?;
    let at = Timestamp::strptime("%d/%b/%Y:%H:%M:%S %z", time).map_err(|_| "the time cannot be read")?;
    let (request, rest) = quoted(rest).ok_or("no request in quotes")?;
    let method = request.split(' ').next().unwrap_or_default();
    if method.is_empty() || method.len() > 20 || !method.bytes().all(|byte| byte.is_ascii_uppercase()) {
        return Err("no method in the request");
    }
    // Status and size say what another server answered; they are of no use here.
    let (_, rest) = rest.split_once('"').ok_or("no referrer in quotes")?;
    let (referrer, rest) = closed(rest).ok_or("no referrer in quotes")?;
    let agent = rest.trim_start().strip_prefix('"').ok_or("no user agent in quotes")?;
    // Servers cut a line that is too long for them, and the agent is what they cut.
    let (user_agent, _) = until_quote(agent);
    Ok(Entry {
        address: header_safe(address),
        at,
        method: method.to_owned(),
        referrer: said(&referrer),
        user_agent: said(&user_agent),
    })
}

fn quoted(text: &str) -> Option<(String, &str)> {
    closed(text.strip_prefix('"')?)
}

fn closed(text: &str) -> Option<(String, &str)> {
    let (inner, rest) = until_quote(text);
    Some((inner, rest?))
}

/// The text up to the closing quote, with `\"` and `\\` taken back, and what follows it if there is such a quote.
fn until_quote(text: &str) -> (String, Option<&str>) {
    let mut inner = String::new();
    let mut characters = text.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return (inner, text.get(at + 1..)),
            '\\' => match characters.next() {
                Some((_, escaped @ ('"' | '\\'))) => inner.push(escaped),
                Some((_, other)) => inner.extend(['\\', other]),
                None => inner.push('\\'),
            },
            _ => inner.push(character),
        }
    }
    (inner, None)
}

/// `-` stands for nothing.
fn said(text: &str) -> Option<String> {
    (!text.is_empty() && text != "-").then(|| header_safe(text))
}

/// A log may hold anything; a header may not hold a line break.
fn header_safe(text: &str) -> String {
    text.chars().map(|character| if character.is_control() { '?' } else { character }).collect()
}

/// A log that is read line by line; lines that are no request are counted and the first of them named.
pub struct Reader {
    path: PathBuf,
    lines: BufReader<Box<dyn Read>>,
    line: u64,
    bad: u64,
    named: Vec<BadLine>,
}

impl Reader {
    /// Opens a log.
    pub fn open(path: &Path) -> Result<Self, LoadError> {
        let file = std::fs::File::open(path)
            .map_err(|error| LoadError::File { path: path.to_owned(), reason: error.to_string() })?;
        Ok(Self::new(path, Box::new(file)))
    }

    fn new(path: &Path, input: Box<dyn Read>) -> Self {
        Self { path: path.to_owned(), lines: BufReader::new(input), line: 0, bad: 0, named: Vec::new() }
    }

    /// How many lines were no request.
    pub fn bad(&self) -> u64 {
        self.bad
    }

    /// The first of them.
    pub fn named(&self) -> &[BadLine] {
        &self.named
    }

    /// The next request.
    pub fn next_entry(&mut self) -> Result<Option<Entry>, LoadError> {
        loop {
            let Some(line) = self.next_line()? else { return Ok(None) };
            match line.and_then(|line| parse(&line)) {
                Ok(entry) => return Ok(Some(entry)),
                Err(reason) => {
                    self.bad += 1;
                    if self.named.len() < MAX_NAMED_BAD_LINES {
                        self.named.push(BadLine { line: self.line, reason });
                    }
                }
            }
        }
    }

    fn next_line(&mut self) -> Result<Option<Result<String, &'static str>>, LoadError> {
        let failed = |error: std::io::Error, path: &Path| LoadError::File {
            path: path.to_owned(),
            reason: error.to_string(),
        };
        let mut line = Vec::new();
        let read = self.lines.by_ref().take(MAX_LINE_BYTES).read_until(b'\n', &mut line);
        if read.map_err(|error| failed(error, &self.path))? == 0 {
            return Ok(None);
        }
        self.line += 1;
        let is_cut = line.last() != Some(&b'\n') && line.len() as u64 == MAX_LINE_BYTES;
        if is_cut {
            self.lines.skip_until(b'\n').map_err(|error| failed(error, &self.path))?;
            return Ok(Some(Err("longer than 65,536 bytes")));
        }
        let text = String::from_utf8_lossy(&line);
        Ok(Some(Ok(text.trim_end_matches(['\n', '\r']).to_owned())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: &str = r#"83.149.9.216 - - [17/May/2015:10:05:03 +0200] "GET /a b HTTP/1.1" 200 203 "http://x.example/" "Mozilla/5.0 (\"X\")""#;

    #[test]
    fn a_line_is_read() {
        let entry = parse(LINE).unwrap();
        assert_eq!(entry.address, "83.149.9.216");
        assert_eq!(entry.at.to_string(), "2015-05-17T08:05:03Z");
        assert_eq!(entry.method, "GET");
        assert_eq!(entry.referrer.as_deref(), Some("http://x.example/"));
        assert_eq!(entry.user_agent.as_deref(), Some("Mozilla/5.0 (\"X\")"));
    }

    #[test]
    fn nothing_is_said_by_a_dash_and_no_header_is_broken() {
        let line = "::1 - - [17/May/2015:10:05:03 +0000] \"HEAD / HTTP/1.0\" 304 - \"-\" \"a\tb\"";
        let entry = parse(line).unwrap();
        assert_eq!((entry.referrer, entry.user_agent.as_deref()), (None, Some("a?b")));
    }

    #[test]
    fn a_cut_user_agent_is_taken_as_it_is() {
        let cut = LINE.split_once("(\\").unwrap().0;
        assert_eq!(parse(cut).unwrap().user_agent.as_deref(), Some("Mozilla/5.0 "));
    }

    #[test]
    fn what_is_wrong_is_said() {
        let no_time = parse("83.149.9.216 - - \"GET / HTTP/1.1\" 200 1 \"-\" \"-\"");
        assert_eq!(no_time, Err("no time in brackets"));
        assert_eq!(parse(&LINE.replace("May", "Mai")), Err("the time cannot be read"));
        assert_eq!(parse(&LINE.replace("GET", "\\x16\\x03")), Err("no method in the request"));
        assert_eq!(parse(LINE.split_once(" \"Moz").unwrap().0), Err("no user agent in quotes"));
        assert_eq!(parse(""), Err("no time in brackets"));
    }

    #[test]
    fn bad_lines_are_counted_and_long_ones_skipped() {
        let long = "x".repeat(MAX_LINE_BYTES as usize * 2);
        let text = format!("nonsense\n{LINE}\n{long}\n{LINE}\r\n{}", "bad\n".repeat(7));
        let mut reader = Reader::new(Path::new("log"), Box::new(std::io::Cursor::new(text)));
        let mut entries = 0;
        while let Some(entry) = reader.next_entry().unwrap() {
            assert_eq!(entry.method, "GET");
            entries += 1;
        }
        assert_eq!((entries, reader.bad(), reader.named().len()), (2, 9, MAX_NAMED_BAD_LINES));
        assert_eq!(reader.named()[1], BadLine { line: 3, reason: "longer than 65,536 bytes" });
    }
}
