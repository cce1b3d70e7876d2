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
    }
}
