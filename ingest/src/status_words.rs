//! The words that other systems have for a conversion's status. `docs/postbacks.md` lists them.
//!
//! A source's own `status_map` comes first, then our own six words, then these.

use schemas::event::Status;

/// Words that mean the same everywhere; whatever is ambiguous, such as `2`, is for the source's own map.
const WORDS: [(&str, Status); 46] = [
    ("0", Status::Pending),
    ("new", Status::Pending),
    ("open", Status::Pending),
    ("processing", Status::Pending),
    ("waiting", Status::Pending),
    ("on_hold", Status::Hold),
    ("on hold", Status::Hold),
    ("onhold", Status::Hold),
    ("1", Status::Approved),
    ("accept", Status::Approved),
    ("accepted", Status::Approved),
    ("approve", Status::Approved),
    ("complete", Status::Approved),
    ("completed", Status::Approved),
    ("confirm", Status::Approved),
    ("confirmed", Status::Approved),
    ("ok", Status::Approved),
    ("success", Status::Approved),
    ("successful", Status::Approved),
    ("true", Status::Approved),
    ("valid", Status::Approved),
    ("yes", Status::Approved),
    ("-1", Status::Rejected),
    ("cancel", Status::Rejected),
    ("canceled", Status::Rejected),
    ("cancelled", Status::Rejected),
    ("decline", Status::Rejected),
    ("declined", Status::Rejected),
    ("denied", Status::Rejected),
    ("false", Status::Rejected),
    ("fraud", Status::Rejected),
    ("invalid", Status::Rejected),
    ("no", Status::Rejected),
    ("refused", Status::Rejected),
    ("reject", Status::Rejected),
    ("spam", Status::Rejected),
    ("trash", Status::Rejected),
    ("void", Status::Rejected),
    ("charge_back", Status::Reversed),
    ("chargeback", Status::Reversed),
    ("charged_back", Status::Reversed),
    ("refund", Status::Reversed),
    ("refunded", Status::Reversed),
    ("return", Status::Reversed),
    ("returned", Status::Reversed),
    ("reverse", Status::Reversed),
];

/// The status that a source means, in capital or small letters; `None` if we do not know the word.
pub(crate) fn meaning(source: &catalog::Source, word: &str) -> Option<Status> {
    let small = word.trim().to_lowercase();
    // The catalog takes a source's own words in small letters.
    let own = source.status_map.get(&small).copied();
    let known = || WORDS.iter().find(|(known, _)| *known == small).map(|(_, status)| *status);
    own.or_else(|| Status::from_word(&small)).or_else(known)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn a_word_stands_once_in_small_letters_and_is_none_of_ours() {
        let words: BTreeSet<_> = WORDS.iter().map(|(word, _)| *word).collect();
        assert_eq!(words.len(), WORDS.len());
        for word in words {
            assert!(word.to_lowercase() == word && Status::from_word(word).is_none(), "{word}");
        }
    }

    #[test]
    fn the_documentation_lists_every_word() {
        let page = include_str!("../../docs/postbacks.md");
        for status in Status::ALL {
            let words: Vec<String> = WORDS
                .iter()
                .filter(|(_, meant)| *meant == status)
                .map(|(word, _)| format!("`{word}`"))
                .collect();
            if !words.is_empty() {
                let row = format!("| `{}` | {} |", status.as_str(), words.join(" "));
                assert!(page.contains(&row), "docs/postbacks.md lacks the row {row}");
            }
        }
    }
}
