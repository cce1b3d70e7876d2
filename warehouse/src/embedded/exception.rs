//! ClickHouse's exceptions: their codes, their text and the HTTP status each becomes.

use http::StatusCode;

use crate::error::code_of;

/// A failed statement, as ClickHouse reports it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Exception {
    /// ClickHouse's error code.
    pub(crate) code: u32,
    /// The whole text: `Code: N. DB::Exception: …`.
    pub(crate) text: String,
}

/// Codes that this server raises itself.
pub(crate) mod code {
    pub(crate) const BAD_ARGUMENTS: u32 = 36;
    pub(crate) const NOT_IMPLEMENTED: u32 = 48;
    pub(crate) const SYNTAX_ERROR: u32 = 62;
    pub(crate) const UNKNOWN_SETTING: u32 = 115;
    pub(crate) const READONLY: u32 = 164;
    pub(crate) const TOO_MANY_SIMULTANEOUS_QUERIES: u32 = 202;
    pub(crate) const NETWORK_ERROR: u32 = 210;
    pub(crate) const CANNOT_DECOMPRESS: u32 = 271;
    pub(crate) const INTO_OUTFILE_NOT_ALLOWED: u32 = 358;
    pub(crate) const TOO_LARGE: u32 = 350;
    pub(crate) const AUTHENTICATION_FAILED: u32 = 516;
    pub(crate) const UNKNOWN_EXCEPTION: u32 = 1002;
}

impl Exception {
    /// An exception that this server raises; `name` is ClickHouse's name for the code.
    pub(crate) fn new(code: u32, name: &str, message: &str) -> Self {
        Self { code, text: format!("Code: {code}. DB::Exception: {message} ({name})") }
    }

    /// The engine's own text. Some of its paths wrap an exception in itself; the innermost says it all.
    pub(crate) fn from_engine(text: &str) -> Self {
        let code = code_of(text).unwrap_or(code::UNKNOWN_EXCEPTION);
        let wrapper = format!("Code: {code}. DB::Exception: ");
        let mut innermost = text;
        while let Some(rest) = innermost.strip_prefix(&wrapper) {
            if !rest.starts_with(&wrapper) {
                break;
            }
            innermost = rest;
        }
        let text = innermost.trim_end();
        match code_of(text) {
            Some(_) => Self { code, text: text.to_owned() },
            None => Self::new(code, "UNKNOWN_EXCEPTION", text),
        }
    }

    /// The engine would not open a connection and, by its interface, does not say why.
    pub(crate) fn connection_refused() -> Self {
        Self::new(code::NETWORK_ERROR, "NETWORK_ERROR", "the engine did not open a connection")
    }

    /// The engine answered nothing at all.
    pub(crate) fn no_answer() -> Self {
        Self::new(code::UNKNOWN_EXCEPTION, "UNKNOWN_EXCEPTION", "the engine gave no answer")
    }

    /// The status that ClickHouse's HTTP interface gives this code (its `exceptionCodeToHTTPStatus`).
    pub(crate) fn status(&self) -> StatusCode {
        match self.code {
            code::AUTHENTICATION_FAILED | 192 | 193 => StatusCode::FORBIDDEN,
            6
            | 20
            | 25..=28
            | 36
            | 38
            | 41
            | 42
            | 43
            | 53
            | 62
            | 69
            | 72
            | 117
            | 130
            | 167..=170
            | 427
            | 456
            | 457 => StatusCode::BAD_REQUEST,
            46 | 47 | 50 | 56 | 60 | 63 | 73 | 78 | 81 | 115 | 269 | 336 | 511 => StatusCode::NOT_FOUND,
            code::TOO_LARGE => StatusCode::PAYLOAD_TOO_LARGE,
            code::NOT_IMPLEMENTED => StatusCode::NOT_IMPLEMENTED,
            76 | 209 | 439 | code::TOO_MANY_SIMULTANEOUS_QUERIES => StatusCode::SERVICE_UNAVAILABLE,
            159 => StatusCode::REQUEST_TIMEOUT,
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exception_wrapped_in_itself_is_unwrapped() {
        let exception = Exception::from_engine(
            "Code: 241. DB::Exception: Code: 241. DB::Exception: Query memory limit exceeded. (MEMORY_LIMIT_EXCEEDED)",
        );
        assert_eq!(exception.code, 241);
        assert_eq!(
            exception.text,
            "Code: 241. DB::Exception: Query memory limit exceeded. (MEMORY_LIMIT_EXCEEDED)"
        );
    }

    #[test]
    fn a_text_without_a_code_gets_one() {
        let exception = Exception::from_engine("something broke");
        assert_eq!(exception.code, code::UNKNOWN_EXCEPTION);
        assert!(exception.text.starts_with("Code: 1002. DB::Exception: something broke"));
    }

    #[test]
    fn statuses_are_those_of_clickhouse() {
        for (code, status) in
            [(62, 400), (60, 404), (516, 403), (241, 500), (48, 501), (202, 503), (159, 408)]
        {
            assert_eq!(Exception::new(code, "X", "x").status().as_u16(), status, "code {code}");
        }
    }
}
