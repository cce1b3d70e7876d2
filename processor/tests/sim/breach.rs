//! What can be broken on purpose, so that it is known that somebody notices.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;
use processor::Error;
use processor::sink::{ConversionKey, Place, SinkPosition, Tables};
use schemas::id::ConversionId;
use schemas::table::Table;
use warehouse::{InsertSettings, Marks};

use crate::blocks::{Row, rows_in};
use crate::tables::SimTables;

/// Who breaks which promise.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub(crate) enum Breach {
    #[default]
    None,
    /// The warehouse takes rows however late they come.
    TakesLateRows,
    /// The warehouse forgets tokens at once.
    ForgetsTokens,
    /// The warehouse loses rows that it has shown.
    LosesRows,
    /// The sink believes the answer to an INSERT instead of asking.
    BelievesAnswers,
    /// The sink believes that conversions are there without asking.
    BelievesConversions,
    /// The sink sends what is lost under the token that is used up.
    KeepsToOneToken,
    /// The sink sends each INSERT under a token of its own.
    ChangesTokens,
    /// The sink says that a cut is finished before its rows are there.
    FinishesFirst,
    /// A snapshot lacks a key.
    SnapshotsLackAKey,
    /// The log deletes more than it was told to.
    DeletesTooMuch,
}

/// The tables as a sink sees them that breaks a promise.
struct Broken {
    tables: SimTables,
    breach: Breach,
    /// What was answered with yes.
    believed: Mutex<BTreeMap<(Table, Place), Marks>>,
    inserts: Mutex<u64>,
}

/// The tables as a sink sees them.
pub(crate) fn seen_by_sinks(tables: &SimTables, breach: Breach) -> Arc<dyn Tables> {
    let is_sinks = matches!(
        breach,
        Breach::BelievesAnswers
            | Breach::BelievesConversions
            | Breach::KeepsToOneToken
            | Breach::ChangesTokens
            | Breach::FinishesFirst
    );
    if !is_sinks {
        return Arc::new(tables.clone());
    }
    Arc::new(Broken { tables: tables.clone(), breach, believed: Mutex::default(), inserts: Mutex::default() })
}

impl Broken {
    fn token(&self, token: &str) -> String {
        if self.breach == Breach::KeepsToOneToken {
            token.rsplit_once('/').map_or("", |(series, _)| series).to_owned()
        } else if self.breach == Breach::ChangesTokens {
            let mut inserts = self.inserts.lock();
            *inserts += 1;
            format!("{token}/{inserts}")
        } else {
            token.to_owned()
        }
    }
}

#[async_trait]
impl Tables for Broken {
    async fn last_cut(&self, log_partition: u16) -> Result<Option<SinkPosition>, Error> {
        self.tables.last_cut(log_partition).await
    }

    async fn marks(&self, of: &[(Table, Place)]) -> Result<Vec<Marks>, warehouse::Error> {
        let mut marks = self.tables.marks(of).await?;
        let believed = self.believed.lock();
        for (place, marks) in of.iter().zip(&mut marks) {
            *marks = *believed.get(place).unwrap_or(marks);
        }
        Ok(marks)
    }

    async fn versions(&self, of: &[ConversionKey]) -> Result<Vec<(ConversionId, u32)>, warehouse::Error> {
        if self.breach == Breach::BelievesConversions {
            return Ok(of.iter().map(|key| (key.id, u32::MAX)).collect());
        }
        self.tables.versions(of).await
    }

    async fn now(&self) -> Result<u32, warehouse::Error> {
        self.tables.now().await
    }

    async fn insert(
        &self,
        table: &'static str,
        arrow_stream: Bytes,
        settings: &InsertSettings,
    ) -> Result<(), warehouse::Error> {
        let rows =
            Table::ALL.into_iter().find(|it| it.name() == table).map(|it| (it, rows_in(it, &arrow_stream)));
        if let Some((table, rows)) = &rows
            && self.breach == Breach::FinishesFirst
        {
            // Sent and not waited for: the next thing it says is that all is there.
            self.believe(*table, rows);
            self.tables.send_off(table.name(), &arrow_stream, settings);
            return Ok(());
        }
        let token = self.token(&settings.dedup_token);
        let settings = InsertSettings { dedup_token: token, ..settings.clone() };
        self.tables.insert(table, arrow_stream, &settings).await?;
        if let Some((table, rows)) = &rows
            && self.breach == Breach::BelievesAnswers
        {
            self.believe(*table, rows);
        }
        Ok(())
    }
}

impl Broken {
    fn believe(&self, table: Table, rows: &[Row]) {
        let Some(last) = rows.last() else { return };
        // The whole chunk: what was not sent was there.
        let mut believed = self.believed.lock();
        let first = believed.get(&(table, last.place)).map_or(rows[0].row_seq, |marks| marks.min);
        believed.insert((table, last.place), Marks::of_range(first, last.row_seq + 1 - first));
    }
}
