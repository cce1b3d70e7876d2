//! What must hold in the tables: each row that the facts give is there once, under its number.

use std::collections::BTreeMap;

use processor::sink::Place;
use schemas::fact::{Decision, Fact};
use schemas::table::Table;

use crate::blocks::Row;
use crate::tables::Warehoused;

/// Everything that must hold in the tables of one log partition.
pub(crate) fn check(warehoused: &Warehoused, decisions: &[Decision]) -> Result<(), String> {
    if let Some(problem) = warehoused.problems.first() {
        return Err(problem.clone());
    }
    for table in Table::ALL {
        let mut there = warehoused.tables.get(&table).cloned().unwrap_or_default();
        there.sort_unstable();
        let name = table.name();
        if let Some((at, row)) = (1..).zip(&there).find(|(at, row)| row.row_seq != *at) {
            return Err(format!("row {at} of {name} is {row:?}"));
        }
        let expected = expected(table, decisions);
        if let Some((row, expected)) = there.iter().zip(&expected).find(|(row, it)| !it.is(row)) {
            return Err(format!("{row:?} of {name} must be {expected:?}"));
        }
        if there.len() != expected.len() {
            return Err(format!("{} rows of {name}, the facts give {}", there.len(), expected.len()));
        }
    }
    conversions_are_current(warehoused, decisions)
}

/// What the facts say of a row.
#[derive(Debug)]
struct Expected {
    cut: u64,
    core_time: i64,
    of: Vec<u8>,
}

impl Expected {
    fn is(&self, row: &Row) -> bool {
        let Place { log_partition, cut, .. } = row.place;
        (log_partition, cut, row.core_time) == (0, self.cut, self.core_time) && row.of == self.of
    }
}

fn expected(table: Table, decisions: &[Decision]) -> Vec<Expected> {
    let (mut rows, mut cut) = (Vec::new(), 1);
    for Decision { core_time, facts, .. } in decisions {
        for fact in facts {
            if let Fact::Cut(_) = fact {
                cut += 1;
            }
            let core_time = core_time.micros();
            rows.extend(of(table, fact).into_iter().map(|of| Expected { cut, core_time, of }));
        }
    }
    rows
}

/// Of whom the rows speak that a fact gives.
fn of(table: Table, fact: &Fact) -> Vec<Vec<u8>> {
    match (table, fact) {
        (Table::Clicks, Fact::Click(fact)) => vec![fact.click.id.bytes().to_vec()],
        (Table::Impressions, Fact::Impression(fact)) => vec![fact.impression.id.bytes().to_vec()],
        (Table::Outcomes, Fact::Outcome(outcome)) => vec![outcome.event.bytes().to_vec()],
        (Table::ConversionRevisions, Fact::Revision(revision)) => {
            let parts = 1 + usize::from(revision.attributed_before.is_some());
            vec![revision.conversion.bytes().to_vec(); parts]
        }
        (Table::Credits, Fact::Revision(revision)) => {
            revision.touches.iter().map(|touch| touch.id.bytes().to_vec()).collect()
        }
        _ => Vec::new(),
    }
}

/// The newest revision of each conversion is in the table of conversions.
fn conversions_are_current(warehoused: &Warehoused, decisions: &[Decision]) -> Result<(), String> {
    let mut newest = BTreeMap::new();
    for fact in decisions.iter().flat_map(|it| &it.facts) {
        if let Fact::Revision(revision) = fact {
            newest.insert(revision.conversion.bytes().to_vec(), revision.version);
        }
    }
    if newest == warehoused.versions {
        Ok(())
    } else {
        Err(format!("conversions are at {:?}, the facts at {newest:?}", warehoused.versions))
    }
}
