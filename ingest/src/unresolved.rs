//! Macros of other systems that arrive as they were written: an ad network that has no value for `{clickid}` sends
//! `{clickid}`.
//!
//! The spellings are those that networks use: `{x}`, `{{x}}`, `${x}`, `[[x]]` and their percent-encoded forms anywhere in a
//! value; `[X]` (VAST), `__X__` (TikTok) and `%%X%%` (Google Ad Manager) only as a whole value and in capitals, because
//! texts that are none look like them. A GUID in braces is a value: systems of Microsoft's write them so.

/// The longest name of a macro, in bytes.
const MAX_NAME_BYTES: usize = 64;

/// Whether a macro stands in the text.
pub(crate) fn has_macro(text: &str) -> bool {
    // Nearly every value has none of these characters, and is looked at once.
    if !text.bytes().any(|byte| matches!(byte, b'{' | b'[' | b'_' | b'%')) {
        return false;
    }
    has_enclosed(text, "{", "}")
        || has_enclosed(text, "[[", "]]")
        || has_enclosed(text, "%7B", "%7D")
        || is_capitals_between(text, "[", "]")
        || is_capitals_between(text, "__", "__")
        || is_between_percents(text)
}

/// Whether the text, not decoded yet, is `%%X%%`, whose first letters may look like an escape.
pub(crate) fn is_between_percents(raw: &str) -> bool {
    is_capitals_between(raw, "%%", "%%")
}

/// Whether a name stands between these two, which are compared without regard to case.
fn has_enclosed(text: &str, open: &str, close: &str) -> bool {
    let mut rest = text.as_bytes();
    while let Some(at) = position(rest, open) {
        rest = &rest[at + open.len()..];
        let name = rest.iter().take(MAX_NAME_BYTES).take_while(|byte| is_name(**byte)).count();
        let (name, after) = rest.split_at(name);
        if name.first().is_some_and(|first| first.is_ascii_alphabetic() || *first == b'_')
            && !is_guid(name)
            && after.get(..close.len()).is_some_and(|end| end.eq_ignore_ascii_case(close.as_bytes()))
        {
            return true;
        }
    }
    false
}

/// Whether it is a GUID: 32 hexadecimal digits in five groups.
fn is_guid(name: &[u8]) -> bool {
    name.len() == 36
        && name.iter().enumerate().all(|(place, byte)| match place {
            8 | 13 | 18 | 23 => *byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        })
}

fn position(text: &[u8], wanted: &str) -> Option<usize> {
    text.windows(wanted.len()).position(|window| window.eq_ignore_ascii_case(wanted.as_bytes()))
}

const fn is_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.' | b':' | b'|')
}

/// Whether the whole text is a name in capitals between these two.
fn is_capitals_between(text: &str, open: &str, close: &str) -> bool {
    let inner = text.strip_prefix(open).and_then(|rest| rest.strip_suffix(close));
    inner.is_some_and(|name| {
        name.len() <= MAX_NAME_BYTES
            && name.starts_with(|first: char| first.is_ascii_uppercase())
            && name.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_')
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_networks_send_unresolved_is_seen() {
        for text in [
            "{clickid}",
            "{{campaign.name}}",
            "${SUBID}",
            "x-{aff_sub2}-y",
            "{sub1|default:0}",
            "{_custom}",
            "[[x]]",
            "%7Bclickid%7D",
            "%7bclickid%7d",
            "%257B%7Bx%7D",
            "[CLICK_ID]",
            "__CLICKID__",
            "__CALLBACK_PARAM_2__",
            "%%CACHEBUSTER%%",
            "{not one} {one}",
            "{\"a\": \"{x}\"}",
        ] {
            assert!(has_macro(text), "{text}");
        }
    }

    #[test]
    fn what_only_looks_like_a_macro_is_none() {
        for text in [
            "",
            "plain",
            "{}",
            "{1}",
            "{\"a\":1}",
            "{not one}",
            "{F47AC10B-58CC-4372-A567-0E02B2C3D479}",
            "{open",
            "close}",
            "[a]",
            "[1,2]",
            "[[1]]",
            "items[id]",
            "a_b__c",
            "__init__",
            "____",
            "%7B%7D",
            "100%",
            "%%",
            "utm_source",
            &format!("{{{}}}", "x".repeat(65)),
        ] {
            assert!(!has_macro(text), "{text}");
        }
    }

    proptest! {
        #[test]
        fn a_name_in_braces_is_seen_wherever_it_stands(
            before in ".{0,20}", name in "[a-zA-Z_][a-zA-Z0-9_.:-]{0,30}", after in ".{0,20}",
        ) {
            let text = format!("{before}{{{name}}}{after}");
            prop_assert!(has_macro(&text), "{}", text);
        }

        #[test]
        fn no_text_panics(text in ".*") {
            let _ = has_macro(&text);
        }
    }
}
