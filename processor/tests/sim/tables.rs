//! A warehouse in memory: tables that only grow, tokens that are remembered for a while, a constraint, and answers that say
//! one thing where the table does another, as the seed has it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use arrow_array::RecordBatch;
use arrow_array::cast::AsArray as _;
use arrow_array::types::UInt32Type;
use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;
use processor::Error;
use processor::sink::{ConversionKey, Place, SinkPosition, Tables};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use schemas::id::ConversionId;
use schemas::table::Table;
use service::clock::SharedClock;
use warehouse::error::code;
use warehouse::{InsertSettings, Marks};

use crate::blocks::{Row, decoded, keys, positions, rows_of};
use crate::breach::Breach;
use crate::pause::give_way;

/// The table of finished cuts.
const CUTS: &str = "cuts";
/// The table of conversions as they are now.
const CONVERSIONS: &str = "conversions";
/// How long a token is remembered at least. The tables remember 10,000 blocks, which last longer than an INSERT may be late; this is
/// the least that the sink relies on: the minute after which rows are refused, and half of one for clocks that are set.
const REMEMBERED_MICROS: i64 = 90_000_000;
/// Tokens that are remembered however old they are.
const TOKENS: usize = 3;

/// Every row of a table, and the tokens that it remembers with the time at which it took them.
#[derive(Default)]
struct Contents {
    rows: Vec<Row>,
    tokens: Vec<(String, i64)>,
}

/// An INSERT on its way.
struct Sent {
    table: &'static str,
    rows: RecordBatch,
    token: String,
}

/// The warehouse. All its clones are one.
#[derive(Clone)]
pub(crate) struct SimTables(Arc<Mutex<Inner>>);

struct Inner {
    rng: StdRng,
    /// By which rows are judged.
    clock: SharedClock,
    /// By which tokens are forgotten: their window is a number of blocks, whatever a clock says.
    right: SharedClock,
    tables: BTreeMap<Table, Contents>,
    cuts: BTreeMap<(u16, u64), SinkPosition>,
    /// The newest version of each conversion.
    versions: BTreeMap<Vec<u8>, u32>,
    sent: BTreeMap<u64, Sent>,
    next: u64,
    has_faults: bool,
    /// What becomes of the next INSERTs into the table of clicks, whatever the seed says.
    script: VecDeque<Fate>,
    breach: Breach,
    problems: Vec<String>,
    seen: BTreeSet<&'static str>,
}

/// What becomes of an INSERT.
pub(crate) enum Fate {
    Acknowledged,
    /// Done, and answered as if it were not known.
    Unknown,
    Lost,
    /// It comes to the table later, if ever.
    Late,
    /// Answered with yes, and nothing was written, though the token is remembered or not.
    Swallowed {
        is_remembered: bool,
    },
    /// Only a beginning was written.
    Part {
        is_answered: bool,
    },
}

fn timeout() -> warehouse::Error {
    warehouse::Error::Timeout(Duration::from_secs(30))
}

fn table_of(name: &str) -> Option<Table> {
    Table::ALL.into_iter().find(|table| table.name() == name)
}

impl Inner {
    fn send(&mut self, sent: Sent) -> u64 {
        self.next += 1;
        self.sent.insert(self.next, sent);
        self.next
    }

    /// An INSERT comes to the table, if it has not done so already.
    fn arrive(&mut self, number: u64) -> Result<(), warehouse::Error> {
        let Some(sent) = self.sent.remove(&number) else { return Err(timeout()) };
        let is_proven = table_of(sent.table).is_some();
        match self.fate(sent.table, is_proven || [CUTS, CONVERSIONS].contains(&sent.table)) {
            Fate::Acknowledged => self.land(sent),
            Fate::Unknown => self.land(sent).and(Err(timeout())),
            Fate::Lost => Err(timeout()),
            Fate::Late => {
                self.sent.insert(number, sent);
                Err(timeout())
            }
            Fate::Swallowed { is_remembered } => {
                self.seen.insert("swallowed");
                if is_remembered && is_proven {
                    self.remember(&sent);
                }
                Ok(())
            }
            Fate::Part { is_answered } => {
                self.seen.insert("part");
                let part = sent.rows.slice(0, sent.rows.num_rows() / 2);
                let landed = self.land(Sent { rows: part, ..sent });
                if is_answered { landed } else { Err(timeout()) }
            }
        }
    }

    /// Nobody asks whether what edges hold back is there: a yes to it is believed, so that it has to be true.
    fn fate(&mut self, table: &str, is_proven: bool) -> Fate {
        if table == Table::Clicks.name()
            && let Some(fate) = self.script.pop_front()
        {
            return fate;
        }
        if !self.has_faults {
            return Fate::Acknowledged;
        }
        // Two sinks send the same conversions, so that both have to be unlucky.
        let is_unlucky = self.breach == Breach::BelievesConversions && table == CONVERSIONS;
        match self.rng.random_range(if is_unlucky { 8..10 } else { 0..40 }) {
            0 | 1 => Fate::Unknown,
            2 | 3 => Fate::Lost,
            4..8 => Fate::Late,
            8 if is_proven => Fate::Swallowed { is_remembered: true },
            9 if is_proven => Fate::Swallowed { is_remembered: false },
            10 if is_proven => Fate::Part { is_answered: true },
            11 if is_proven => Fate::Part { is_answered: false },
            _ => Fate::Acknowledged,
        }
    }

    fn remembers(&mut self, table: Table, token: &str) -> bool {
        let (now, breach) = (self.right.now_micros(), self.breach);
        let tokens = &mut self.tables.entry(table).or_default().tokens;
        let newest = tokens.len().saturating_sub(TOKENS);
        let mut at = 0;
        tokens.retain(|(_, taken)| {
            at += 1;
            let is_old = now - taken > REMEMBERED_MICROS && at <= newest;
            !is_old && breach != Breach::ForgetsTokens
        });
        if at > tokens.len() {
            self.seen.insert("forgotten");
        }
        tokens.iter().any(|(known, _)| known == token)
    }

    fn remember(&mut self, sent: &Sent) {
        let Some(table) = table_of(sent.table) else { return };
        if !self.remembers(table, &sent.token) {
            let now = self.right.now_micros();
            self.tables.entry(table).or_default().tokens.push((sent.token.clone(), now));
        }
    }

    /// The table takes rows, or refuses them.
    fn land(&mut self, sent: Sent) -> Result<(), warehouse::Error> {
        let Some(table) = table_of(sent.table) else {
            self.land_derived(&sent);
            return Ok(());
        };
        let now = self.clock.now_micros() / 1_000_000;
        let before = sent.rows.column_by_name("insert_before").unwrap().as_primitive::<UInt32Type>();
        if self.breach != Breach::TakesLateRows
            && before.values().iter().any(|before| now > i64::from(*before))
        {
            self.seen.insert("refused");
            return Err(warehouse::Error::Query {
                code: code::VIOLATED_CONSTRAINT,
                message: "too late".into(),
            });
        }
        if self.remembers(table, &sent.token) {
            self.seen.insert("deduplicated");
            return Ok(());
        }
        self.remember(&sent);
        let rows = rows_of(table, &sent.rows);
        self.none_is_late(table, &rows);
        self.tables.entry(table).or_default().rows.extend(rows);
        Ok(())
    }

    fn land_derived(&mut self, sent: &Sent) {
        if sent.table == CUTS {
            for (partition, position) in positions(&sent.rows) {
                self.is_finished(partition, &position);
                self.cuts.insert((partition, position.cut), position);
            }
        } else if sent.table == CONVERSIONS {
            let versions = sent.rows.column_by_name("version").unwrap().as_primitive::<UInt32Type>();
            for (conversion, version) in keys(&sent.rows, "id").into_iter().zip(versions.values()) {
                let newest = self.versions.entry(conversion).or_default();
                *newest = (*newest).max(*version);
            }
        }
    }

    /// Whether all rows are there of a cut that is said to be finished, and reports end no earlier than before.
    fn is_finished(&mut self, partition: u16, position: &SinkPosition) {
        let SinkPosition { cut, core_time, .. } = *position;
        for table in Table::ALL {
            let rows = &self.tables.entry(table).or_default().rows;
            let of_partition = rows.iter().filter(|row| row.place.log_partition == partition);
            let mut there: Vec<u64> =
                of_partition.filter(|row| row.place.cut <= cut).map(|row| row.row_seq).collect();
            there.sort_unstable();
            if !there.iter().copied().eq(1..=position.rows.get(table)) {
                let (table, wanted) = (table.name(), position.rows.get(table));
                self.problems.push(format!("cut {cut} is finished at {wanted} rows of {table}: {there:?}"));
            }
        }
        let last = self.cuts.range(..=(partition, u64::MAX)).next_back();
        if let Some((_, last)) = last.filter(|((of, _), _)| *of == partition)
            && last.cut < cut
            && last.core_time > core_time
        {
            self.problems.push(format!("data_through goes back from {} to {core_time}", last.core_time));
        }
    }

    /// Whether reports had an end after which these rows come.
    fn none_is_late(&mut self, table: Table, rows: &[Row]) {
        for row in rows {
            let last = self.cuts.range(..=(row.place.log_partition, u64::MAX)).next_back();
            let last = last.filter(|((of, _), _)| *of == row.place.log_partition);
            if last
                .is_some_and(|(_, last)| row.core_time < last.core_time.micros() || row.place.cut <= last.cut)
            {
                self.problems.push(format!("a row of {} appears behind {last:?}: {row:?}", table.name()));
            }
        }
    }

    /// Now and then something comes to its table that nobody waits for any more.
    fn maybe_land(&mut self) {
        if !self.has_faults || self.sent.is_empty() || !self.rng.random_ratio(1, 20) {
            return;
        }
        let which = self.rng.random_range(0..self.sent.len());
        let number = *self.sent.keys().nth(which).unwrap();
        if let Some(sent) = self.sent.remove(&number)
            && self.rng.random_ratio(3, 4)
        {
            // Whether it is taken is nobody's business but the table's.
            drop(self.land(sent));
        }
    }

    fn maybe_lose(&mut self) {
        if self.breach == Breach::LosesRows && self.rng.random_ratio(1, 40) {
            let table = Table::ALL[self.rng.random_range(0..Table::ALL.len())];
            self.tables.entry(table).or_default().rows.pop();
        }
    }

    fn fails(&mut self) -> bool {
        self.has_faults && self.rng.random_ratio(1, 60)
    }
}

impl SimTables {
    pub(crate) fn new(seed: u64, (clock, right): (SharedClock, SharedClock), breach: Breach) -> Self {
        Self(Arc::new(Mutex::new(Inner {
            rng: StdRng::seed_from_u64(seed),
            clock,
            right,
            tables: BTreeMap::new(),
            cuts: BTreeMap::new(),
            versions: BTreeMap::new(),
            sent: BTreeMap::new(),
            next: 0,
            has_faults: true,
            script: VecDeque::new(),
            breach,
            problems: Vec::new(),
            seen: BTreeSet::new(),
        })))
    }

    /// From now on nothing goes wrong, and what is on its way comes or never does.
    pub(crate) fn settle(&self) {
        let mut inner = self.0.lock();
        inner.has_faults = false;
        for sent in std::mem::take(&mut inner.sent).into_values() {
            drop(inner.land(sent));
        }
    }

    /// From now on nothing goes wrong but this, with the next INSERTs into the table of clicks.
    pub(crate) fn script(&self, fates: impl IntoIterator<Item = Fate>) {
        let mut inner = self.0.lock();
        inner.has_faults = false;
        inner.script = fates.into_iter().collect();
    }

    pub(crate) fn last_finished(&self) -> u64 {
        self.0.lock().cuts.keys().next_back().map_or(0, |(_, cut)| *cut)
    }

    /// The last record of facts of which anything is finished.
    pub(crate) fn last_record(&self) -> Option<u64> {
        self.0.lock().cuts.values().map(|position| position.record).max()
    }

    async fn pause(&self) {
        let times = {
            let mut inner = self.0.lock();
            inner.maybe_land();
            inner.maybe_lose();
            if inner.has_faults { inner.rng.random_range(1..4) } else { 1 }
        };
        give_way(times).await;
    }

    /// Sends an INSERT for which nobody waits.
    pub(crate) fn send_off(&self, table: &'static str, stream: &[u8], settings: &InsertSettings) {
        let sent = Sent { table, rows: decoded(stream), token: settings.dedup_token.clone() };
        self.0.lock().send(sent);
    }

    /// What came to an end here.
    pub(crate) fn remains(&self) -> Warehoused {
        let inner = self.0.lock();
        let of = |(table, contents): (&Table, &Contents)| (*table, contents.rows.clone());
        Warehoused {
            tables: inner.tables.iter().map(of).collect(),
            versions: inner.versions.clone(),
            problems: inner.problems.clone(),
            seen: inner.seen.clone(),
        }
    }
}

/// What a history leaves behind in the tables.
pub(crate) struct Warehoused {
    pub(crate) tables: BTreeMap<Table, Vec<Row>>,
    pub(crate) versions: BTreeMap<Vec<u8>, u32>,
    /// What was wrong on the way.
    pub(crate) problems: Vec<String>,
    /// What has gone wrong without being wrong.
    pub(crate) seen: BTreeSet<&'static str>,
}

#[async_trait]
impl Tables for SimTables {
    async fn last_cut(&self, log_partition: u16) -> Result<Option<SinkPosition>, Error> {
        self.pause().await;
        let mut inner = self.0.lock();
        if inner.fails() {
            return Err(timeout().into());
        }
        let last = inner.cuts.range(..=(log_partition, u64::MAX)).next_back();
        Ok(last.filter(|((of, _), _)| *of == log_partition).map(|(_, last)| last.clone()))
    }

    async fn marks(&self, of: &[(Table, Place)]) -> Result<Vec<Marks>, warehouse::Error> {
        let mut marks = Vec::new();
        for (table, place) in of {
            // One table is looked at after the other.
            self.pause().await;
            let mut inner = self.0.lock();
            if inner.fails() {
                return Err(timeout());
            }
            let rows = &inner.tables.entry(*table).or_default().rows;
            let there = rows.iter().filter(|row| row.place == *place).map(|row| row.row_seq);
            let there: Vec<u64> = there.collect();
            marks.push(Marks {
                count: there.len() as u64,
                min: there.iter().copied().min().unwrap_or(0),
                max: there.iter().copied().max().unwrap_or(0),
                sum: there.iter().sum(),
                sum_of_squares: there.iter().map(|row_seq| row_seq * row_seq).sum(),
            });
        }
        // The answer is on its way, and old when it is read.
        self.pause().await;
        Ok(marks)
    }

    async fn versions(&self, of: &[ConversionKey]) -> Result<Vec<(ConversionId, u32)>, warehouse::Error> {
        self.pause().await;
        let mut inner = self.0.lock();
        if inner.fails() {
            return Err(timeout());
        }
        let known = |id: ConversionId| Some((id, *inner.versions.get(id.bytes().as_slice())?));
        Ok(of.iter().filter_map(|key| known(key.id)).collect())
    }

    async fn now(&self) -> Result<u32, warehouse::Error> {
        self.pause().await;
        let inner = self.0.lock();
        Ok(u32::try_from(inner.clock.now_micros() / 1_000_000).unwrap())
    }

    async fn insert(
        &self,
        table: &'static str,
        arrow_stream: Bytes,
        settings: &InsertSettings,
    ) -> Result<(), warehouse::Error> {
        let sent = Sent { table, rows: decoded(&arrow_stream), token: settings.dedup_token.clone() };
        // From here on it may land whether somebody waits for it or not.
        let number = self.0.lock().send(sent);
        self.pause().await;
        let answer = self.0.lock().arrive(number);
        self.pause().await;
        answer
    }
}
