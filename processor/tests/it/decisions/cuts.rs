//! Where a sink's batch ends.

use processor::core::FACTS_PER_CUT;
use schemas::fact::{Cut, Fact};
use schemas::table::{RowCounts, Table};

use crate::scene::{Core, HOUR, Traffic, click_id};

fn cut(facts: &[Fact]) -> Option<Cut> {
    facts.iter().find_map(|fact| if let Fact::Cut(cut) = fact { Some(*cut) } else { None })
}

#[test]
fn a_tick_cuts_only_what_is_uncut() {
    let (mut core, mut edge) = (Core::new(), Traffic::of_edge(1));
    assert_eq!(core.tick(), [Fact::Ticked]);
    let click = edge.click(0, |_| {});
    core.feed(&click);
    core.feed(&edge.conversion(HOUR, |it| it.click = Some(click_id(&click))));
    let rows = RowCounts::new([1, 0, 1, 1, 2]);
    assert_eq!(core.tick(), [Fact::Ticked, Fact::Cut(Cut { number: 1, rows })]);
    assert_eq!(core.tick(), [Fact::Ticked]);
    // A delivery that came again gives no row, and so no cut.
    core.feed(&click);
    assert_eq!(core.tick(), [Fact::Ticked]);
    // A conversion that waits has an outcome.
    let absent = edge.click(0, |_| {});
    core.feed(&edge.conversion(HOUR, |it| it.click = Some(click_id(&absent))));
    assert_eq!(cut(&core.tick()), Some(Cut { number: 2, rows: RowCounts::new([1, 0, 1, 1, 3]) }));
}

#[test]
fn a_cut_is_made_without_a_tick_after_so_many_facts() {
    let (mut core, mut edge) = (Core::new(), Traffic::of_edge(1));
    let mut cuts = Vec::new();
    for n in 1..=FACTS_PER_CUT {
        // A click gives two facts with rows.
        let facts = core.feed_fast(&edge.click(0, |_| {}));
        cuts.extend(cut(&facts).map(|cut| (n, cut.number, cut.rows.get(Table::Clicks))));
    }
    let half = FACTS_PER_CUT / 2;
    assert_eq!(cuts, [(half, 1, half), (FACTS_PER_CUT, 2, FACTS_PER_CUT)]);
    assert_eq!(core.head.uncut, 0);
}
