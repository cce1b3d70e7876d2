//! The core's own copy of the catalog, folded to exactly the revision that an event carries.

use std::sync::Arc;
use std::time::Duration;

use catalog::follower::PARTITION;
use catalog::{Catalog, Revisions};
use eventlog::{EventLog, Subscription};
use schemas::event::CatalogRevision;

use crate::error::Error;

/// Records read at once.
const READ_AHEAD: usize = 1_000;
/// How long a record that lies before the log's known end may take to arrive.
const READ_WAIT: Duration = Duration::from_secs(10);

/// A catalog that moves only forward, and only as far as it is told.
pub(crate) struct CoreCatalog {
    log: Arc<dyn EventLog>,
    catalog: Catalog,
    reader: Box<dyn Subscription>,
    /// Records read and not folded yet.
    ahead: std::collections::VecDeque<eventlog::Record>,
    /// The hash at each revision, so that a stamp from before can be compared.
    hashes: Vec<u64>,
    /// The catalog whose attribution holds before its revision.
    settings: Option<Box<Catalog>>,
}

impl CoreCatalog {
    /// A copy at `revision`, folded from the log's beginning. Where it is older than `settings_of`, attribution is what it is there.
    ///
    /// # Errors
    /// [`Error::Foreign`] if the log's catalog has another hash there.
    pub(crate) async fn at(
        log: Arc<dyn EventLog>,
        revision: CatalogRevision,
        settings_of: Option<u64>,
    ) -> Result<Self, Error> {
        let reader = log.subscribe(&[(PARTITION, 0)]).await?;
        let settings = match settings_of.filter(|of| *of > revision.number) {
            Some(of) => Some(Box::new(folded(log.as_ref(), of).await?)),
            None => None,
        };
        let catalog = Catalog::new();
        let hashes = vec![catalog.revision().hash];
        let ahead = std::collections::VecDeque::new();
        let mut copy = Self { log, catalog, reader, ahead, hashes, settings };
        copy.advance(revision).await?.map_err(|_| Error::Foreign("the catalog revision in the state"))?;
        Ok(copy)
    }

    /// The catalog as it stands.
    pub(crate) const fn get(&self) -> &Catalog {
        &self.catalog
    }

    /// Goes to the revision that the event at `position` carries, if that is ahead.
    pub(crate) async fn advance_for(
        &mut self,
        position: u64,
        revision: CatalogRevision,
    ) -> Result<(), Error> {
        self.advance(revision).await?.map_err(|problem| Error::CatalogRevision {
            position,
            number: revision.number,
            problem,
        })
    }

    /// Tells of revisions after the present one without going there.
    pub(crate) async fn look_ahead(&self) -> Result<LookAhead, Error> {
        let revisions = self.catalog.revisions();
        let reader = self.log.subscribe(&[(PARTITION, revisions.revision().number)]).await?;
        Ok(LookAhead { revisions, reader })
    }

    async fn advance(&mut self, revision: CatalogRevision) -> Result<Result<(), &'static str>, Error> {
        while self.catalog.revision().number < revision.number {
            let Some(record) = self.next().await? else {
                return Ok(Err("lies beyond the end of the catalog"));
            };
            let folded = self.catalog.fold(&record)?;
            self.hashes.push(self.catalog.revision().hash);
            if let (Some(settings), Ok(accepted)) = (&self.settings, &folded.verdict) {
                self.catalog.take_attribution(settings, &accepted.resources);
            }
            // From there on every record says itself what holds.
            self.settings.take_if(|of| of.revision().number <= self.catalog.revision().number);
        }
        let known = usize::try_from(revision.number).ok().and_then(|number| self.hashes.get(number));
        Ok(if known == Some(&revision.hash) { Ok(()) } else { Err("has another hash in the catalog") })
    }

    async fn next(&mut self) -> Result<Option<eventlog::Record>, Error> {
        if self.ahead.is_empty() {
            let bounds = self.log.bounds(PARTITION).await?;
            if self.catalog.revision().number >= bounds.end {
                return Ok(None);
            }
            match self.reader.next(READ_AHEAD, READ_WAIT).await? {
                Some(batch) => self.ahead.extend(batch.records),
                None => return Err(eventlog::Error::Deadline.into()),
            }
        }
        Ok(self.ahead.pop_front())
    }
}

/// The catalog at a revision.
pub(crate) async fn folded(log: &dyn EventLog, revision: u64) -> Result<Catalog, Error> {
    let mut catalog = Catalog::new();
    let mut reader = log.subscribe(&[(PARTITION, 0)]).await?;
    while catalog.revision().number < revision {
        let batch = reader.next(READ_AHEAD, READ_WAIT).await?.ok_or(eventlog::Error::Deadline)?;
        for record in batch.records.iter().take_while(|record| record.position < revision) {
            catalog.fold(record)?;
        }
    }
    Ok(catalog)
}

/// Reads the catalog's log ahead of the copy, to know its newest revision.
pub(crate) struct LookAhead {
    revisions: Revisions,
    reader: Box<dyn Subscription>,
}

impl LookAhead {
    /// The newest revision that there is.
    pub(crate) async fn newest(&mut self) -> Result<CatalogRevision, Error> {
        while let Some(batch) = self.reader.next(READ_AHEAD, Duration::ZERO).await? {
            batch.records.iter().for_each(|record| self.revisions.advance(&record.payload));
        }
        Ok(self.revisions.revision())
    }
}
