//! Which rows a report has at all.

use serde_json::{Value, json};

use crate::reports::all;
use crate::traffic::loaded;

#[tokio::test]
async fn no_row_stands_for_what_nobody_asked_for() {
    let (harness, rows) = loaded().await;
    let range = "from=2026-01-01&to=2027-01-01";
    let cells = |items: &[Value], name: &str| {
        let mut words: Vec<_> = items.iter().map(|row| row[name].as_str().unwrap().to_owned()).collect();
        words.sort();
        words
    };
    let (goals, _) = all(&harness, &format!("{range}&group_by=goal&metrics=conversions,revenue")).await;
    assert_eq!(cells(&goals, "goal"), ["lead", "sale"]);
    // Clicks have no goal, so where they are asked for there is a row of theirs.
    let (both, _) = all(&harness, &format!("{range}&group_by=goal&metrics=clicks,conversions")).await;
    assert_eq!(cells(&both, "goal"), ["lead", "sale", "unknown"]);
    let (clicks, _) = all(&harness, &format!("{range}&group_by=goal&metrics=clicks")).await;
    assert_eq!(cells(&clicks, "goal"), ["unknown"]);
    for (query, name, expected) in [
        ("group_by=goal&goal=sale&metrics=clicks,conversions", "goal", "sale"),
        ("group_by=status&status=approved&metrics=clicks,conversions", "status", "approved"),
        ("group_by=status&status=approved&metrics=clicks", "status", "approved"),
    ] {
        let (items, totals) = all(&harness, &format!("{range}&{query}")).await;
        assert_eq!(cells(&items, name), [expected], "{query}");
        assert_eq!((&items[0]["clicks"], &totals["clicks"]), (&json!(0), &json!(0)), "{query}");
        assert_eq!(items[0]["conversions"], totals["conversions"], "{query}");
    }
    // Filtered on one and cut by the other: the clicks are still those that led to nothing known.
    let (items, _) = all(&harness, &format!("{range}&group_by=goal&status=paid&metrics=clicks")).await;
    let counted =
        rows.clicks.iter().filter(|row| row.workspace == harness.first.number && row.counted && !row.test);
    assert_eq!(items, [json!({"goal": "unknown", "clicks": counted.count()})]);
    harness.stop().await;
}
