//! Persons: by what somebody is known again, and which conversions are theirs.
//!
//! A person is what visitor ids, customer ids and e-mail addresses have in common that were said to be one's: by a report that
//! names several of them, or whose click has a visitor. Only a sender who may approve conversions can join them: with a key
//! that everybody can read in a page, one could join one's own clicks to somebody else's customer. What is joined stays joined.
//!
//! Whoever is known by one thing alone and has not converted has no entry at all, so that a click of theirs costs one read
//! that misses.

use prost::Message;
use schemas::event::Conversion;
use schemas::fact::{Fact, Identity, IdentityKind, Joined, Revision};
use schemas::id::{ConversionId, VisitorId, WorkspaceNumber};
use schemas::time::Timestamp;

use super::decide::Decider;
use super::dedupe::digest;
use super::key;
use super::state::{Overlay, State, StateError};

/// By how many things one person is known at most. What would go beyond is not joined: an id that a thousand have in common, such
/// as that of a test customer, is nobody's.
const MAX_IDENTITIES: usize = 64;
/// How many of a person's conversions late touches can reach: the last ones recorded. All that one touch revises lies in one record
/// of the log, with up to 500 touches for each.
const MAX_CONVERSIONS: usize = 20;
/// How long, in core time, a touch that comes late is compared with a conversion.
const REMEMBERED_MICROS: i64 = 90 * 24 * 3_600 * 1_000_000;

/// Before a person's message stands when the last of their conversions occurred: almost no touch is older than that, and then
/// nothing else is read.
const LAST_BYTES: usize = size_of::<i64>();

#[derive(Clone, PartialEq, Message)]
struct PersonMessage {
    #[prost(message, repeated, tag = "1")]
    identities: Vec<IdentityMessage>,
    /// In the order in which they were recorded.
    #[prost(message, repeated, tag = "2")]
    conversions: Vec<ConvertedMessage>,
}

#[derive(Clone, PartialEq, Message)]
struct IdentityMessage {
    #[prost(uint32, tag = "1")]
    kind: u32,
    #[prost(bytes = "vec", tag = "2")]
    id: Vec<u8>,
    #[prost(bool, tag = "3")]
    test: bool,
}

#[derive(Clone, PartialEq, Message)]
struct ConvertedMessage {
    #[prost(bytes = "vec", tag = "1")]
    conversion: Vec<u8>,
    #[prost(int64, tag = "2")]
    occurred_at: i64,
    #[prost(int64, tag = "3")]
    recorded_at: i64,
}

/// Somebody, by all that they are known by.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Person {
    identities: Vec<Identity>,
    /// In the order in which they were recorded.
    pub(super) conversions: Vec<Converted>,
}

/// A conversion of a person.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Converted {
    pub(super) conversion: ConversionId,
    pub(super) occurred_at: Timestamp,
    /// Core time.
    pub(super) recorded_at: Timestamp,
}

/// A person's name in the state: that of the first thing they were known by.
type Name = key::Digest;

const fn unreadable() -> StateError {
    StateError::Unreadable("person")
}

impl Person {
    /// The browsers they were seen with.
    pub(super) fn visitors(&self) -> impl Iterator<Item = VisitorId> {
        let visitors = self.identities.iter().filter(|identity| identity.kind == IdentityKind::Visitor);
        visitors.map(|identity| VisitorId::from_bytes(identity.id))
    }

    fn encode(&self) -> Vec<u8> {
        let identities = self.identities.iter().map(|identity| IdentityMessage {
            kind: kind_letter(identity.kind).into(),
            id: identity.id.to_vec(),
            test: identity.test,
        });
        let conversions = self.conversions.iter().map(|converted| ConvertedMessage {
            conversion: converted.conversion.bytes().to_vec(),
            occurred_at: converted.occurred_at.micros(),
            recorded_at: converted.recorded_at.micros(),
        });
        let message = PersonMessage { identities: identities.collect(), conversions: conversions.collect() };
        let last = self.conversions.iter().map(|it| it.occurred_at.micros()).max().unwrap_or(i64::MIN);
        let mut bytes = last.to_be_bytes().to_vec();
        // A vector has room for everything, so this cannot fail.
        let _ = message.encode(&mut bytes);
        bytes
    }

    fn decode(bytes: &[u8]) -> Result<Self, StateError> {
        let (_, bytes) = bytes.split_first_chunk::<LAST_BYTES>().ok_or_else(unreadable)?;
        let message = PersonMessage::decode(bytes).map_err(|_| unreadable())?;
        let identity = |identity: IdentityMessage| {
            Ok(Identity {
                kind: kind_of_letter(identity.kind).ok_or_else(unreadable)?,
                id: identity.id.try_into().map_err(|_| unreadable())?,
                test: identity.test,
            })
        };
        let converted = |converted: ConvertedMessage| {
            Ok(Converted {
                conversion: ConversionId::from_slice(&converted.conversion).ok_or_else(unreadable)?,
                occurred_at: Timestamp::from_micros(converted.occurred_at),
                recorded_at: Timestamp::from_micros(converted.recorded_at),
            })
        };
        Ok(Self {
            identities: message.identities.into_iter().map(identity).collect::<Result<_, StateError>>()?,
            conversions: message.conversions.into_iter().map(converted).collect::<Result<_, StateError>>()?,
        })
    }

    /// Takes in what another was known by. The order stays that of the records.
    fn absorb(&mut self, other: Self) {
        self.identities.extend(other.identities);
        self.conversions.extend(other.conversions);
        self.conversions.sort_by_key(|it| (it.recorded_at, it.conversion));
        self.forget_old();
    }

    fn forget_old(&mut self) {
        let newest = self.conversions.last().map_or(Timestamp::default(), |last| last.recorded_at);
        self.conversions.retain(|it| newest.micros_since(it.recorded_at) <= REMEMBERED_MICROS);
        let beyond = self.conversions.len().saturating_sub(MAX_CONVERSIONS);
        self.conversions.drain(..beyond);
    }
}

pub(super) const fn kind_letter(kind: IdentityKind) -> u8 {
    match kind {
        IdentityKind::Visitor => b'v',
        IdentityKind::Customer => b'c',
        IdentityKind::Email => b'e',
    }
}

fn kind_of_letter(letter: u32) -> Option<IdentityKind> {
    let kinds = [IdentityKind::Visitor, IdentityKind::Customer, IdentityKind::Email];
    kinds.into_iter().find(|kind| u32::from(kind_letter(*kind)) == letter)
}

/// The identity of a browser.
pub(super) const fn of_visitor(visitor: VisitorId, test: bool) -> Identity {
    Identity { kind: IdentityKind::Visitor, id: *visitor.bytes(), test }
}

/// The identity of a sender's customer, if the report names one.
pub(super) fn of_customer(conversion: &Conversion) -> Option<Identity> {
    let id = (!conversion.customer_id.is_empty()).then(|| digest(conversion.customer_id.as_bytes()))?;
    Some(Identity { kind: IdentityKind::Customer, id, test: conversion.test })
}

/// The identity of an e-mail address, if the report names one.
pub(super) fn of_email(conversion: &Conversion) -> Option<Identity> {
    let id = conversion.email_sha256.map(|hash| std::array::from_fn(|at| hash[at]))?;
    Some(Identity { kind: IdentityKind::Email, id, test: conversion.test })
}

/// By what a conversion's person is known: first the visitor of its click, then what it names itself.
pub(super) fn identities(conversion: &Conversion, of_click: Option<VisitorId>) -> Vec<Identity> {
    let visitors = [of_click, conversion.visitor].into_iter().flatten();
    let mut found: Vec<Identity> = visitors.map(|visitor| of_visitor(visitor, conversion.test)).collect();
    found.extend([of_customer(conversion), of_email(conversion)].into_iter().flatten());
    // The visitor of the click, named once more.
    found.dedup();
    found
}

fn name_of(
    state: &Overlay<'_>,
    workspace: WorkspaceNumber,
    identity: &Identity,
) -> Result<Option<Name>, StateError> {
    let Some(bytes) = state.get(&key::identity(workspace, identity))? else { return Ok(None) };
    bytes[..].try_into().map(Some).map_err(|_| unreadable())
}

fn named(state: &Overlay<'_>, workspace: WorkspaceNumber, name: &Name) -> Result<Person, StateError> {
    Person::decode(&state.get(&key::person(workspace, name))?.ok_or_else(unreadable)?)
}

/// Who is known by this, if anybody is.
pub(super) fn known_by(
    state: &Overlay<'_>,
    workspace: WorkspaceNumber,
    identity: &Identity,
) -> Result<Option<Person>, StateError> {
    let name = name_of(state, workspace, identity)?;
    name.map(|name| named(state, workspace, &name)).transpose()
}

/// The conversions of whoever is known by this that occurred at an instant or after it.
pub(super) fn converted_since(
    state: &Overlay<'_>,
    workspace: WorkspaceNumber,
    identity: &Identity,
    since: Timestamp,
) -> Result<Vec<Converted>, StateError> {
    let Some(name) = name_of(state, workspace, identity)? else { return Ok(Vec::new()) };
    let bytes = state.get(&key::person(workspace, &name))?.ok_or_else(unreadable)?;
    let last = i64::from_be_bytes(*bytes.first_chunk::<LAST_BYTES>().ok_or_else(unreadable)?);
    if last < since.micros() {
        return Ok(Vec::new());
    }
    let mut conversions = Person::decode(&bytes)?.conversions;
    conversions.retain(|converted| converted.occurred_at >= since);
    Ok(conversions)
}

impl Decider<'_, '_> {
    /// Joins what a report says is one person's, and gives that person if it was news.
    pub(super) fn join(
        &mut self,
        workspace: WorkspaceNumber,
        identities: &[Identity],
    ) -> Result<Option<Person>, StateError> {
        let Some(first) = identities.first().filter(|_| identities.len() > 1) else { return Ok(None) };
        let (mut names, mut unknown, mut known) = (Vec::new(), 0, 0);
        for identity in identities {
            match name_of(self.state, workspace, identity)? {
                None => unknown += 1,
                Some(name) if names.contains(&name) => {}
                Some(name) => {
                    known += named(self.state, workspace, &name)?.identities.len();
                    names.push(name);
                }
            }
        }
        let is_new = unknown > 0 || names.len() > 1;
        if !is_new || unknown + known > MAX_IDENTITIES {
            return Ok(None);
        }
        self.emit(Fact::Joined(Box::new(Joined { workspace, identities: identities.to_vec() })))?;
        known_by(self.state, workspace, first)
    }
}

/// Makes one person of all that these are known by. The one known by most keeps the name, of equals the one of the smaller name.
pub(super) fn apply_joined(state: &mut Overlay<'_>, joined: &Joined) -> Result<(), StateError> {
    let workspace = joined.workspace;
    let mut persons: Vec<(Name, Person)> = Vec::new();
    let mut fresh = Person::default();
    for identity in &joined.identities {
        match name_of(state, workspace, identity)? {
            Some(name) if persons.iter().any(|(known, _)| *known == name) => {}
            Some(name) => persons.push((name, named(state, workspace, &name)?)),
            None => fresh.identities.push(*identity),
        }
    }
    persons.sort_by_key(|(name, person)| (std::cmp::Reverse(person.identities.len()), *name));
    let mut persons = persons.into_iter();
    let (name, mut person) = match (persons.next(), fresh.identities.first()) {
        (Some(known), _) => known,
        (None, Some(first)) => (first_name(first), Person::default()),
        (None, None) => return Ok(()),
    };
    for (absorbed, other) in persons {
        state.remove(key::person(workspace, &absorbed));
        rename(state, workspace, &other.identities, &name);
        person.absorb(other);
    }
    rename(state, workspace, &fresh.identities, &name);
    person.absorb(fresh);
    state.put(key::person(workspace, &name), person.encode());
    Ok(())
}

/// What a person is called who was nobody before. No other can have this name: whose it is, is found by the identity itself.
fn first_name(identity: &Identity) -> Name {
    digest(&[[kind_letter(identity.kind), u8::from(identity.test)].as_slice(), &identity.id].concat())
}

fn rename(state: &mut Overlay<'_>, workspace: WorkspaceNumber, identities: &[Identity], name: &Name) {
    for identity in identities {
        state.put(key::identity(workspace, identity), name);
    }
}

/// Notes whose a new conversion is, so that later touches find it.
pub(super) fn apply_recorded(state: &mut Overlay<'_>, revision: &Revision) -> Result<(), StateError> {
    let of_click = revision.attributed.visitor;
    let Some(identity) = identities(&revision.received, of_click).into_iter().next() else { return Ok(()) };
    let workspace = revision.workspace;
    let (name, mut person) = match name_of(state, workspace, &identity)? {
        Some(name) => (name, named(state, workspace, &name)?),
        None => (first_name(&identity), Person { identities: vec![identity], conversions: Vec::new() }),
    };
    person.conversions.push(Converted {
        conversion: revision.conversion,
        occurred_at: revision.received.occurred_at,
        recorded_at: state.head().core_time,
    });
    person.forget_old();
    rename(state, workspace, &[identity], &name);
    state.put(key::person(workspace, &name), person.encode());
    Ok(())
}
