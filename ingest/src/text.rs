//! Texts within bounds.

/// The longest beginning of `text` that has at most `max_bytes` and ends between characters.
pub(crate) fn cut(text: &str, max_bytes: usize) -> &str {
    &text[..text.floor_char_boundary(max_bytes)]
}

#[cfg(test)]
mod tests {
    use super::cut;

    #[test]
    fn cuts_between_characters() {
        assert_eq!(cut("abc", 3), "abc");
        assert_eq!(cut("abcd", 3), "abc");
        assert_eq!(cut("aéé", 4), "aé");
        assert_eq!(cut("é", 1), "");
    }
}
