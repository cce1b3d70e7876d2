//! As much of a statement's text as an HTTP server must understand: where an `INSERT`'s data begins, and which
//! format a `SELECT` names. Everything else is left to the engine's parser.

/// An `INSERT` whose data follows its text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct InsertHead<'a> {
    /// The statement without its `FORMAT` clause: `INSERT INTO t (a, b) SETTINGS …`.
    pub(crate) statement: &'a str,
    /// The format of the data.
    pub(crate) format: &'a str,
    /// Where the data begins in the text.
    pub(crate) data_at: usize,
}

/// A word or sign outside of comments; what stands in parentheses is one token.
#[derive(Clone, Copy, Debug)]
struct Token<'a> {
    text: &'a str,
    start: usize,
    end: usize,
}

impl Token<'_> {
    fn is(&self, keyword: &str) -> bool {
        self.text.eq_ignore_ascii_case(keyword)
    }

    fn is_identifier(&self) -> bool {
        self.text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
    }
}

/// Reads tokens from the front of a text that may be cut anywhere and hold any bytes behind its head.
struct Tokens<'a> {
    text: &'a [u8],
    at: usize,
}

impl<'a> Tokens<'a> {
    fn of(text: &'a [u8]) -> Self {
        Self { text, at: 0 }
    }

    fn skip_blank(&mut self) {
        loop {
            let rest = &self.text[self.at..];
            let skipped = match rest {
                [b, ..] if b.is_ascii_whitespace() => 1,
                [b'-', b'-', ..] | [b'#', b'!' | b' ', ..] => line_length(rest),
                [b'/', b'*', ..] => {
                    rest.windows(2).position(|pair| pair == b"*/").map_or(rest.len(), |at| at + 2)
                }
                _ => return,
            };
            self.at += skipped;
        }
    }
}

impl<'a> Iterator for Tokens<'a> {
    type Item = Token<'a>;

    fn next(&mut self) -> Option<Token<'a>> {
        self.skip_blank();
        let start = self.at;
        let rest = &self.text[start..];
        let length = match *rest.first()? {
            quote @ (b'\'' | b'"' | b'`') => quoted_length(rest, quote),
            b'(' => parenthesised_length(rest),
            b if is_word(b) => rest.iter().take_while(|b| is_word(**b)).count(),
            _ => 1,
        };
        self.at = start + length;
        // Only heads are read as text; bytes that are none end the head.
        let text = std::str::from_utf8(&rest[..length]).ok()?;
        Some(Token { text, start, end: self.at })
    }
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte >= 0x80
}

fn line_length(rest: &[u8]) -> usize {
    rest.iter().position(|b| *b == b'\n').map_or(rest.len(), |at| at + 1)
}

/// The length of a quoted token with backslash escapes; a doubled quote simply begins the next token.
fn quoted_length(rest: &[u8], quote: u8) -> usize {
    let mut at = 1;
    while at < rest.len() {
        match rest[at] {
            b'\\' => at += 2,
            b if b == quote => return at + 1,
            _ => at += 1,
        }
    }
    rest.len()
}

/// Counts instead of calling itself: a text may open more parentheses than a stack has frames.
fn parenthesised_length(rest: &[u8]) -> usize {
    let mut tokens = Tokens::of(rest);
    let mut open = 0_usize;
    loop {
        tokens.skip_blank();
        let length = match rest.get(tokens.at) {
            None => return rest.len(),
            Some(quote @ (b'\'' | b'"' | b'`')) => quoted_length(&rest[tokens.at..], *quote),
            Some(b'(') => {
                open += 1;
                1
            }
            Some(b')') if open == 1 => return tokens.at + 1,
            Some(b')') => {
                open -= 1;
                1
            }
            Some(_) => 1,
        };
        tokens.at += length;
    }
}

/// The first word of a statement.
pub(crate) fn first_word(text: &str) -> &str {
    Tokens::of(text.as_bytes()).next().map_or("", |token| token.text)
}

/// Whether the statement gives rows that can be fetched in pieces.
pub(crate) fn is_select(text: &str) -> bool {
    let first = first_word(text);
    first.starts_with('(')
        || ["SELECT", "WITH", "FROM"].iter().any(|keyword| first.eq_ignore_ascii_case(keyword))
}

/// The head of an `INSERT … FORMAT x` or `INSERT … VALUES` at the front of `text`; `None` for every other
/// statement, `INSERT … SELECT` included.
pub(crate) fn insert_head(text: &[u8]) -> Option<InsertHead<'_>> {
    let mut tokens = Tokens::of(text);
    let first = tokens.next()?;
    if !first.is("INSERT") {
        return None;
    }
    while let Some(token) = tokens.next() {
        if token.is("SELECT") || token.is("WITH") || token.text.starts_with("(SELECT") || token.is("WATCH") {
            return None;
        }
        let statement = || std::str::from_utf8(&text[first.start..token.start]).ok();
        if token.is("VALUES") {
            return Some(InsertHead { statement: statement()?, format: "Values", data_at: token.end });
        }
        if token.is("FORMAT") {
            let format = tokens.next().filter(Token::is_identifier)?;
            return Some(InsertHead {
                statement: statement()?,
                format: format.text,
                data_at: skip_line_end(text, format.end),
            });
        }
    }
    None
}

/// The data of an `INSERT` begins behind blanks, one semicolon and one line end, as in ClickHouse's own parser.
fn skip_line_end(text: &[u8], mut at: usize) -> usize {
    let skip_spaces = |mut at: usize| {
        while matches!(text.get(at), Some(b' ' | b'\t' | 0x0c)) {
            at += 1;
        }
        at
    };
    at = skip_spaces(at);
    if text.get(at) == Some(&b';') {
        at = skip_spaces(at + 1);
    }
    if text.get(at) == Some(&b'\r') {
        at += 1;
    }
    if text.get(at) == Some(&b'\n') {
        at += 1;
    }
    at
}

/// The format that a statement's own `FORMAT` clause names.
pub(crate) fn output_format(text: &str) -> Option<&str> {
    let tokens: Vec<Token<'_>> = Tokens::of(text.as_bytes()).collect();
    tokens.windows(2).enumerate().rev().find_map(|(at, pair)| {
        let ends = tokens.get(at + 2).is_none_or(|next| next.is(";") || next.is("SETTINGS"));
        (pair[0].is("FORMAT") && pair[1].is_identifier() && ends).then_some(pair[1].text)
    })
}

/// Whether the statement wants its answer in a file on the server, which HTTP does not allow.
pub(crate) fn writes_a_file(text: &str) -> bool {
    let tokens: Vec<Token<'_>> = Tokens::of(text.as_bytes()).collect();
    tokens.windows(2).any(|pair| pair[0].is("INTO") && pair[1].is("OUTFILE"))
}

/// `text` as a quoted literal of ClickHouse's SQL.
pub(crate) fn quoted(text: &str, quote: char) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push(quote);
    for c in text.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            '\0' => out.push_str("\\0"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if c == quote => {
                out.push('\\');
                out.push(c);
            }
            c => out.push(c),
        }
    }
    out.push(quote);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_data_of_an_insert_is_found() {
        let text =
            b"insert into `a b`.t (x, `format`) SETTINGS a=1 /* FORMAT no */ FORMAT RowBinary\n\x00\xff;";
        let head = insert_head(text).unwrap();
        assert_eq!(
            head.statement.trim_end(),
            "insert into `a b`.t (x, `format`) SETTINGS a=1 /* FORMAT no */"
        );
        assert_eq!(head.format, "RowBinary");
        assert_eq!(&text[head.data_at..], b"\x00\xff;");
    }

    #[test]
    fn values_follow_their_keyword() {
        let text = b"INSERT INTO t VALUES (1, 'a;b'), (2, 'c')";
        let head = insert_head(text).unwrap();
        assert_eq!((head.statement, head.format), ("INSERT INTO t ", "Values"));
        assert_eq!(&text[head.data_at..], b" (1, 'a;b'), (2, 'c')");
    }

    #[test]
    fn a_line_end_belongs_to_the_head_once() {
        for (text, data) in
            [("INSERT INTO t FORMAT CSV\n\n1", "\n1"), ("INSERT INTO t FORMAT CSV ; \r\n1", "1")]
        {
            assert_eq!(&text[insert_head(text.as_bytes()).unwrap().data_at..], data);
        }
    }

    #[test]
    fn other_statements_have_no_data() {
        for text in ["INSERT INTO t SELECT 1 FORMAT CSV", "SELECT 1 FORMAT CSV", "INSERT INTO t", "", "\u{0}"]
        {
            assert_eq!(insert_head(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn the_output_format_is_the_last_clause() {
        for (text, format) in [
            ("SELECT 1 FORMAT JSON", Some("JSON")),
            ("SELECT 1 format CSV SETTINGS a = 1;", Some("CSV")),
            ("SELECT 'x FORMAT JSON'", None),
            ("SELECT a FROM format -- FORMAT JSON", None),
            ("SELECT * FROM (SELECT 1 FORMAT JSON)", None),
            ("SELECT format FROM t", None),
        ] {
            assert_eq!(output_format(text), format, "{text}");
        }
    }

    #[test]
    fn any_text_is_read_to_its_end() {
        let deep = "(".repeat(1 << 20);
        for text in
            [deep.as_str(), "(')", "('\\", "((a)", "/*", "--", "'", "INSERT INTO t (", "\u{e4}(\u{e4}"]
        {
            assert_eq!(insert_head(text.as_bytes()), None);
            assert_eq!(output_format(text), None);
        }
        let text = format!("SELECT {deep}1{} FORMAT CSV", ")".repeat(1 << 20));
        assert_eq!(output_format(&text), Some("CSV"));
        assert_eq!(insert_head(b"INSERT INTO t (a, ')') FORMAT CSV\n1").map(|head| head.data_at), Some(34));
    }

    #[test]
    fn quoting_leaves_no_way_out() {
        assert_eq!(quoted("a'; DROP TABLE t; --\\", '\''), "'a\\'; DROP TABLE t; --\\\\'");
    }
}
