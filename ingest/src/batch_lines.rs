//! The events of a batch: where one ends and the next begins. What stands in them is nobody's business here.

use std::fmt;

use serde::de::{Deserializer, IgnoredAny, SeqAccess, Visitor};
use serde_json::value::RawValue;

use crate::error::Refusal;

/// Events of one batch.
pub(crate) const MAX_EVENTS: usize = 10_000;

/// How the events of a batch follow each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    /// One JSON array.
    Array,
    /// JSON, one event a line.
    Lines,
}

impl Shape {
    /// The events. A broken array has none; a broken line spoils itself alone.
    pub(crate) fn events(self, body: &[u8]) -> Result<Vec<&[u8]>, Refusal> {
        match self {
            Self::Array => array(body),
            Self::Lines => lines(body),
        }
    }
}

/// Lines that come in pieces. No more of them is kept than one event may have, and what came with its end.
#[derive(Debug)]
pub(crate) struct Lines {
    bytes: Vec<u8>,
    /// Where the lines begin that were not given out.
    start: usize,
    /// No line ends before this and after the start.
    searched: usize,
    /// Bytes of an event.
    limit: usize,
    events: usize,
}

impl Lines {
    /// Lines of events of at most `limit` bytes. A longer one comes out longer than that, and not as it was.
    pub(crate) const fn new(limit: usize) -> Self {
        Self { bytes: Vec::new(), start: 0, searched: 0, limit, events: 0 }
    }

    /// Where the next bytes are appended.
    pub(crate) const fn tail(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    /// Bytes of memory that this takes.
    pub(crate) const fn held(&self) -> usize {
        self.bytes.capacity()
    }

    /// The next events whose lines are complete, `most` of them at most; none if no line is. At the end of the body the
    /// last line is complete without a line's end.
    ///
    /// # Errors
    /// [`Refusal::TooManyEvents`] in the place of the first event beyond the limit.
    pub(crate) fn next(&mut self, most: usize, is_end: bool) -> Result<Vec<&[u8]>, Refusal> {
        let Self { bytes, start, searched, events: count, .. } = self;
        let mut events = Vec::new();
        while events.len() < most {
            let end = bytes[*searched..].iter().position(|byte| *byte == b'\n').map(|end| *searched + end);
            let after = match end {
                Some(end) => end + 1,
                None if is_end && *start < bytes.len() => bytes.len(),
                None => {
                    *searched = bytes.len();
                    break;
                }
            };
            let event = bytes[*start..after].trim_ascii();
            if !event.is_empty() {
                if *count == MAX_EVENTS {
                    // It is met again, once those before it are taken.
                    if events.is_empty() {
                        return Err(Refusal::TooManyEvents { limit: MAX_EVENTS });
                    }
                    break;
                }
                *count += 1;
                events.push(event);
            }
            (*start, *searched) = (after, after);
        }
        Ok(events)
    }

    /// Forgets the lines that were given out, and of a line that is too long what nobody will read. To be called when
    /// [`Self::next`] gave none.
    pub(crate) fn settle(&mut self) {
        let rest = &self.bytes[self.start..];
        let blank = rest.len() - rest.trim_ascii_start().len();
        self.bytes.drain(..self.start + blank);
        if self.bytes.len() > self.limit {
            if self.bytes.trim_ascii_end().len() > self.limit {
                self.bytes.truncate(self.limit + 1);
                // Blanks at the end do not count, and the line may end here.
                self.bytes[self.limit] = b'.';
            } else {
                // Blanks follow the event, and it is too long only if something follows them.
                self.bytes.truncate(self.limit);
            }
        }
        (self.start, self.searched) = (0, self.bytes.len());
    }
}

fn lines(body: &[u8]) -> Result<Vec<&[u8]>, Refusal> {
    let mut events = Vec::new();
    for line in body.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii).filter(|line| !line.is_empty()) {
        if events.len() == MAX_EVENTS {
            return Err(Refusal::TooManyEvents { limit: MAX_EVENTS });
        }
        events.push(line);
    }
    Ok(events)
}

fn array(body: &[u8]) -> Result<Vec<&[u8]>, Refusal> {
    struct Items;

    impl<'de> Visitor<'de> for Items {
        type Value = (Vec<&'de [u8]>, bool);

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an array of events")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
            let mut events = Vec::new();
            while events.len() < MAX_EVENTS {
                let Some(event) = items.next_element::<&RawValue>()? else { return Ok((events, false)) };
                events.push(event.get().as_bytes());
            }
            let is_more = items.next_element::<IgnoredAny>()?.is_some();
            // The parser wants to see the array's end.
            while items.next_element::<IgnoredAny>()?.is_some() {}
            Ok((events, is_more))
        }
    }

    let mut parser = serde_json::Deserializer::from_slice(body);
    let items = parser.deserialize_seq(Items).and_then(|items| parser.end().map(|()| items));
    let (events, is_more) = items.map_err(|error| {
        let message = format!("not a JSON array: {error}");
        Refusal::invalid("body", crate::text::cut(&message, 200))
    })?;
    if is_more { Err(Refusal::TooManyEvents { limit: MAX_EVENTS }) } else { Ok(events) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn texts(shape: Shape, body: &str) -> Result<Vec<String>, Refusal> {
        let events = shape.events(body.as_bytes())?;
        Ok(events.into_iter().map(|event| String::from_utf8(event.to_vec()).unwrap()).collect())
    }

    #[test]
    fn events_are_told_apart() {
        assert_eq!(
            texts(Shape::Array, " [ {\"a\": [1]} , 2,null ] ").unwrap(),
            ["{\"a\": [1]}", "2", "null"]
        );
        assert_eq!(texts(Shape::Array, "[]").unwrap(), [""; 0]);
        assert_eq!(texts(Shape::Lines, "{}\r\n\n  \n{broken\n[1]").unwrap(), ["{}", "{broken", "[1]"]);
        for body in ["", "{}", "[{}", "[{}]x", "[{},]", "[{broken]", "[1 2]"] {
            assert_eq!(texts(Shape::Array, body).unwrap_err().faults()[0].field, "body", "{body}");
        }
    }

    #[test]
    fn ten_thousand_are_the_most() {
        let array = |count: usize| format!("[{}]", vec!["1"; count].join(","));
        let lines = |count: usize| "1\n".repeat(count);
        for (shape, body) in [
            (Shape::Array, &array as &dyn Fn(usize) -> String),
            (Shape::Lines, &lines as &dyn Fn(usize) -> String),
        ] {
            assert_eq!(texts(shape, &body(MAX_EVENTS)).unwrap().len(), MAX_EVENTS);
            let refused = texts(shape, &body(MAX_EVENTS + 1)).unwrap_err();
            assert!(matches!(refused, Refusal::TooManyEvents { limit: MAX_EVENTS }), "{shape:?}: {refused}");
        }
    }

    /// What comes out of lines that come in pieces of this many bytes.
    fn in_pieces(body: &[u8], size: usize, limit: usize) -> Result<Vec<Vec<u8>>, Refusal> {
        let (mut lines, mut events) = (Lines::new(limit), Vec::new());
        let mut pieces = body.chunks(size);
        loop {
            let piece = pieces.next();
            lines.tail().extend_from_slice(piece.unwrap_or_default());
            loop {
                let some = lines.next(3, piece.is_none())?;
                if some.is_empty() {
                    break;
                }
                events.extend(some.into_iter().map(<[u8]>::to_vec));
            }
            lines.settle();
            assert!(lines.bytes.len() <= limit + 1);
            assert!(lines.held() <= 2 * (limit + 1 + size).max(8), "{}", lines.held());
            if piece.is_none() {
                return Ok(events);
            }
        }
    }

    #[test]
    fn a_line_that_is_too_long_is_not_kept() {
        let blanks = " ".repeat(100);
        for (line, is_too_long) in [
            ("x".repeat(10), false),
            ("x".repeat(11), true),
            ("x".repeat(500), true),
            (format!("{blanks}{}{blanks}", "x".repeat(10)), false),
            (format!("{blanks}{}{blanks}", "x".repeat(11)), true),
            (format!("x{blanks}x"), true),
            (format!("x{blanks}xxxxxxxxxxxx{blanks}"), true),
        ] {
            for piece in 1..line.len() + 8 {
                for body in [format!("a\n{line}\nb\n"), format!("a\n{line}")] {
                    let events = in_pieces(body.as_bytes(), piece, 10).unwrap();
                    assert_eq!(events[0], b"a");
                    assert_eq!(events[1].len() > 10, is_too_long, "{line:?} {piece}");
                    assert!(is_too_long || events[1] == line.trim().as_bytes());
                    assert!(events.get(2).is_none_or(|event| event == b"b"));
                }
            }
        }
    }

    #[test]
    fn the_event_beyond_the_limit_is_refused_when_those_before_it_are_taken() {
        let body = "1\n".repeat(MAX_EVENTS + 1);
        let mut lines = Lines::new(10);
        lines.tail().extend_from_slice(body.as_bytes());
        assert_eq!(lines.next(MAX_EVENTS + 1, false).unwrap().len(), MAX_EVENTS);
        assert!(matches!(lines.next(1, false), Err(Refusal::TooManyEvents { limit: MAX_EVENTS })));
    }

    #[test]
    fn depth_costs_no_stack() {
        let deep = format!("[{}{}]", "[".repeat(100_000), "]".repeat(100_000));
        assert_eq!(Shape::Array.events(deep.as_bytes()).unwrap().len(), 1);
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = Shape::Array.events(&bytes);
            let _ = Shape::Lines.events(&bytes);
        }

        #[test]
        fn pieces_make_no_difference(
            body in prop::collection::vec(prop::sample::select(b"\n\r {}x".to_vec()), 0..200),
            piece in 1..50_usize,
        ) {
            let whole = Shape::Lines.events(&body).unwrap();
            prop_assert_eq!(in_pieces(&body, piece, 200).unwrap(), whole);
        }
    }
}
