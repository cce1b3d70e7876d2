//! What becomes of a reported conversion.

use catalog::{Duplicates, Workspace};
use schemas::event::{Conversion, Event, Mark, Status};
use schemas::fact::{DedupeKey, OutcomeStatus, Revision, Subject, TouchId, reason};
use schemas::id::{ClickId, ConversionId, SourceId, WorkspaceNumber};

use super::decide::{Case, Decider, Settled};
use super::dedupe;
use super::horizon::is_click_over;
use super::key::{self, Awaited};
use super::person;
use super::state::{State, StateError};
use super::stored::StoredTouch;

/// A reported conversion on its way to a decision.
pub(super) struct Reported<'a> {
    pub(super) case: Case<'a>,
    pub(super) conversion: &'a Conversion,
}

impl<'a> Reported<'a> {
    pub(super) const fn new(event: &'a Event, conversion: &'a Conversion, mark: Option<Mark>) -> Self {
        let (source, test) = (conversion.source, conversion.test);
        Self { case: Case { event, mark, subject: Subject::Conversion, source, test }, conversion }
    }
}

/// The click that a report names.
pub(super) enum NamedClick {
    /// It names none.
    None,
    /// It is here.
    Here(StoredTouch),
    /// It is not here, or not yet.
    Missing,
    /// It is beyond the horizon: nobody knows any more whether it ever was.
    Over,
    /// It can only be another workspace's.
    Foreign,
}

impl NamedClick {
    /// The click, if it is here.
    pub(super) fn here(self) -> Option<StoredTouch> {
        match self {
            Self::Here(click) => Some(click),
            Self::None | Self::Missing | Self::Over | Self::Foreign => None,
        }
    }
}

impl Decider<'_, '_> {
    /// Decides a conversion; parks it if it waits for its click.
    pub(super) fn conversion(&mut self, reported: &Reported<'_>) -> Result<(), StateError> {
        let (event, conversion) = (reported.case.event, reported.conversion);
        let Some(workspace) = self.catalog.workspace(event.workspace) else {
            return self.reject(&reported.case, reason::UNKNOWN_WORKSPACE);
        };
        if self.is_replay(&reported.case, conversion.nonce.as_ref())? {
            return Ok(());
        }
        if let Some(fault) = &conversion.fault {
            return self.reject(&reported.case, &fault.reason);
        }
        if self.names_unknown(event, conversion) {
            return self.reject(&reported.case, reason::UNKNOWN_REFERENCE);
        }
        let mut key = dedupe::key_of_report(event, conversion);
        if let Some(existing) = self.existing(event, &key)? {
            if self.duplicates(&existing) != Duplicates::Count {
                return self.repeated(reported, workspace, &existing);
            }
            // The first keeps the key: a refund by its transaction finds that one.
            key = dedupe::key_of_receipt(event, conversion);
        }
        if !may_begin_as(conversion) {
            return self.reject(&reported.case, reason::STATUS_NOT_REACHABLE);
        }
        match self.named_click(event.workspace, conversion.click)? {
            NamedClick::None | NamedClick::Over => self.record(reported, workspace, key, None),
            NamedClick::Here(click) => self.record(reported, workspace, key, Some(click)),
            NamedClick::Missing => self.park(&reported.case, reason::UNKNOWN_CLICK),
            NamedClick::Foreign => self.reject(&reported.case, reason::UNKNOWN_CLICK),
        }
    }

    /// What a repetition is by the goal of the conversion that it repeats.
    pub(super) fn duplicates(&self, existing: &Revision) -> Duplicates {
        let offer = existing.attributed.offer.and_then(|offer| self.catalog.offer(existing.workspace, offer));
        let goal = offer.and_then(|offer| offer.goal(&existing.received.goal));
        goal.map_or(Duplicates::Ignore, |goal| goal.duplicates)
    }

    /// The click that a report names, if it names one.
    pub(super) fn named_click(
        &self,
        workspace: WorkspaceNumber,
        click: Option<ClickId>,
    ) -> Result<NamedClick, StateError> {
        let Some(click) = click else { return Ok(NamedClick::None) };
        if click.workspace() != workspace {
            return Ok(NamedClick::Foreign);
        }
        if is_click_over(click, self.state.head().core_time) {
            return Ok(NamedClick::Over);
        }
        Ok(match self.state.get(&key::click(workspace, click))? {
            Some(bytes) => NamedClick::Here(StoredTouch::decode(TouchId::Click(click), &bytes)?),
            None => NamedClick::Missing,
        })
    }

    fn record(
        &mut self,
        reported: &Reported<'_>,
        workspace: &Workspace,
        dedupe_key: DedupeKey,
        click: Option<StoredTouch>,
    ) -> Result<(), StateError> {
        let (event, conversion) = (reported.case.event, reported.conversion);
        let joined = self.join_reported(workspace, conversion, click.as_ref())?;
        let assessment = match self.assess(workspace, conversion, click, &[])? {
            Ok(assessment) => assessment,
            Err(reason) => return self.reject(&reported.case, reason),
        };
        let revision = self.first_revision(event, workspace, dedupe_key, assessment)?;
        let (id, reason) = (revision.conversion, revision.reason.clone());
        self.revise(None, revision)?;
        let settled = Settled { conversion: Some(id), ..Settled::because(&reason) };
        self.settle(&reported.case, OutcomeStatus::Recorded, settled)?;
        // A refund may have been here first.
        self.settle_waiting(event.workspace, Awaited::Key(dedupe_key))?;
        self.settle_waiting(event.workspace, Awaited::Conversion(id))?;
        self.reopen_joined(event, joined)
    }

    /// Joins whoever a trusted report names by several names.
    pub(super) fn join_reported(
        &mut self,
        workspace: &Workspace,
        conversion: &Conversion,
        click: Option<&StoredTouch>,
    ) -> Result<Option<person::Person>, StateError> {
        if !conversion.trust.may_approve() {
            return Ok(None);
        }
        let of_click = click.and_then(|click| click.visitor);
        self.join(workspace.number, &person::identities(conversion, of_click))
    }

    /// Whether the report names a source or an offer that is none of its workspace's: under an invented source one
    /// transaction would count twice.
    fn names_unknown(&self, event: &Event, conversion: &Conversion) -> bool {
        conversion.source.is_some_and(|source| self.is_foreign(event.workspace, source))
            || conversion.offer.is_some_and(|offer| self.catalog.offer(event.workspace, offer).is_none())
    }

    pub(super) fn is_foreign(&self, workspace: WorkspaceNumber, source: SourceId) -> bool {
        self.catalog.source(source).is_none_or(|it| it.workspace != workspace)
    }

    /// The conversion that has this key already.
    pub(super) fn existing(&self, event: &Event, key: &DedupeKey) -> Result<Option<Revision>, StateError> {
        let Some(bytes) = self.state.get(&key::dedupe(event.workspace, key))? else { return Ok(None) };
        let conversion =
            ConversionId::from_slice(&bytes).ok_or(StateError::Unreadable("conversion by its key"))?;
        self.revision(event.workspace, conversion)?.map(Some).ok_or(StateError::Unreadable("conversion"))
    }
}

/// Whether the life cycle can begin with the status that a trusted sender wants; an untrusted one's wish is not heard.
pub(super) fn may_begin_as(conversion: &Conversion) -> bool {
    let reachable = |status| status == Status::Pending || Status::Pending.may_become(status);
    !conversion.trust.may_approve() || conversion.status.is_none_or(reachable)
}
