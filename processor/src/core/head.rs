//! The head of a partition's state: where it stands in every log and what it has counted.

use prost::Message;
use schemas::event::CatalogRevision;
use schemas::fact::{NO_RECORD, OutcomeStatus, RecordHash};
use schemas::table::RowCounts;
use schemas::time::Timestamp;

use super::state::StateError;

/// Where the state stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// Next position of `events` to be decided.
    pub source: u64,
    /// SHA-256 of the event before it; [`NO_RECORD`] before the first.
    pub last_event: RecordHash,
    /// Position of the last accepted record in `facts`; `None` before the first.
    pub record: Option<u64>,
    /// Its hash.
    pub record_hash: RecordHash,
    /// Number of the next fact, from 1.
    pub next_seq: u64,
    /// The highest log time decided.
    pub core_time: Timestamp,
    /// How far the core has folded the catalog.
    pub catalog: CatalogRevision,
    /// Rows reached in each table.
    pub rows: RowCounts,
    /// Number of the last cut.
    pub cut: u64,
    /// Facts with rows since the last cut.
    pub uncut: u64,
    /// About how many bytes they have.
    pub uncut_bytes: u64,
    /// Core time at which stale delivery marks were last looked for.
    pub marks_swept: Timestamp,
    /// New exchange rates for which conversions are still being assessed anew.
    pub rate_sweeps: u64,
    /// What was counted.
    pub counters: Counters,
}

/// What was counted since the partition's first event. Every record of `events` is one of ticks, redelivered, received.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counters {
    /// Ticks taken in, and what edges said about their spools: events that nobody delivered.
    pub ticks: u64,
    /// Deliveries that stood in the log once more.
    pub redelivered: u64,
    /// Outcomes, in the order of [`OutcomeStatus::ALL`]; the last one, parked, is the present level.
    pub outcomes: [u64; OutcomeStatus::ALL.len()],
}

impl Head {
    /// Events received: every record of `events` up to here that is neither of the ticks nor a delivery seen before. It comes from
    /// the position alone, so that an event that was passed over is missed.
    pub fn received(&self) -> u64 {
        self.source.saturating_sub(self.counters.ticks).saturating_sub(self.counters.redelivered)
    }

    /// Events received less their outcomes: 0, or something is lost or doubled.
    pub fn imbalance(&self) -> i64 {
        let settled: u64 = self.counters.outcomes.iter().sum();
        self.received().wrapping_sub(settled) as i64
    }
}

impl Default for Head {
    fn default() -> Self {
        Self {
            source: 0,
            last_event: NO_RECORD,
            record: None,
            record_hash: NO_RECORD,
            next_seq: 1,
            core_time: Timestamp::default(),
            catalog: CatalogRevision::default(),
            rows: RowCounts::default(),
            cut: 0,
            uncut: 0,
            uncut_bytes: 0,
            marks_swept: Timestamp::default(),
            rate_sweeps: 0,
            counters: Counters::default(),
        }
    }
}

#[derive(Clone, PartialEq, Message)]
struct HeadMessage {
    #[prost(uint64, tag = "1")]
    source: u64,
    #[prost(uint64, optional, tag = "2")]
    record: Option<u64>,
    #[prost(bytes = "vec", tag = "3")]
    record_hash: Vec<u8>,
    #[prost(uint64, tag = "4")]
    next_seq: u64,
    #[prost(int64, tag = "5")]
    core_time: i64,
    #[prost(uint64, tag = "6")]
    catalog_number: u64,
    #[prost(uint64, tag = "7")]
    catalog_hash: u64,
    #[prost(uint64, repeated, tag = "8")]
    rows: Vec<u64>,
    #[prost(uint64, tag = "9")]
    cut: u64,
    #[prost(uint64, tag = "10")]
    uncut: u64,
    #[prost(uint64, tag = "14")]
    uncut_bytes: u64,
    #[prost(int64, tag = "11")]
    marks_swept: i64,
    #[prost(uint64, tag = "12")]
    ticks: u64,
    #[prost(uint64, tag = "13")]
    redelivered: u64,
    #[prost(uint64, repeated, tag = "15")]
    outcomes: Vec<u64>,
    #[prost(bytes = "vec", tag = "16")]
    last_event: Vec<u8>,
    #[prost(uint64, tag = "17")]
    rate_sweeps: u64,
}

impl Head {
    /// The bytes that a store keeps.
    pub fn encode(&self) -> Vec<u8> {
        HeadMessage {
            source: self.source,
            record: self.record,
            record_hash: self.record_hash.to_vec(),
            next_seq: self.next_seq,
            core_time: self.core_time.micros(),
            catalog_number: self.catalog.number,
            catalog_hash: self.catalog.hash,
            rows: self.rows.all().to_vec(),
            cut: self.cut,
            uncut: self.uncut,
            uncut_bytes: self.uncut_bytes,
            marks_swept: self.marks_swept.micros(),
            ticks: self.counters.ticks,
            redelivered: self.counters.redelivered,
            outcomes: self.counters.outcomes.to_vec(),
            last_event: self.last_event.to_vec(),
            rate_sweeps: self.rate_sweeps,
        }
        .encode_to_vec()
    }

    /// The head in these bytes.
    pub fn decode(bytes: &[u8]) -> Result<Self, StateError> {
        let unreadable = || StateError::Unreadable("head");
        let head = HeadMessage::decode(bytes).map_err(|_| unreadable())?;
        Ok(Self {
            source: head.source,
            last_event: head.last_event.try_into().map_err(|_| unreadable())?,
            record: head.record,
            record_hash: head.record_hash.try_into().map_err(|_| unreadable())?,
            next_seq: head.next_seq,
            core_time: Timestamp::from_micros(head.core_time),
            catalog: CatalogRevision { number: head.catalog_number, hash: head.catalog_hash },
            rows: RowCounts::new(head.rows.try_into().map_err(|_| unreadable())?),
            cut: head.cut,
            uncut: head.uncut,
            uncut_bytes: head.uncut_bytes,
            marks_swept: Timestamp::from_micros(head.marks_swept),
            rate_sweeps: head.rate_sweeps,
            counters: Counters {
                ticks: head.ticks,
                redelivered: head.redelivered,
                outcomes: head.outcomes.try_into().map_err(|_| unreadable())?,
            },
        })
    }
}
