//! The revisions of the catalog: one for each record of its log, named by all records up to it.

use schemas::event::CatalogRevision;
use sha2::{Digest, Sha256};

/// The revision that the records read so far make.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Revisions {
    revision: CatalogRevision,
    running_hash: [u8; 32],
}

impl Revisions {
    /// How many records were read, and the hash of them all.
    pub const fn revision(&self) -> CatalogRevision {
        self.revision
    }

    /// Goes on to the revision that the next record makes.
    pub fn advance(&mut self, payload: &[u8]) {
        self.running_hash =
            Sha256::new().chain_update(self.running_hash).chain_update(payload).finalize().into();
        let [a, b, c, d, e, f, g, h, ..] = self.running_hash;
        let hash = u64::from_be_bytes([a, b, c, d, e, f, g, h]);
        self.revision = CatalogRevision { number: self.revision.number + 1, hash };
    }
}
