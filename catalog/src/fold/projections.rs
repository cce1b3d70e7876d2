//! Generations as the log decides them: one is live, at most one is planned, numbers are never used twice.

use std::sync::Arc;

use schemas::generation::Generation;

use super::{Catalog, Rejected};
use crate::resource::{Projection, Resource, ResourceKind, Stage};
use crate::table::Tables;

impl Catalog {
    /// Every projection by its generation, the first one and dropped ones too.
    pub fn projections(&self) -> impl Iterator<Item = Projection> {
        let first = self.projection(Generation::FIRST).unwrap_or(Projection::FIRST);
        let later = self.tables.projections.values().filter(|it| it.generation != Generation::FIRST).cloned();
        std::iter::once(first).chain(later)
    }

    /// The projection of a generation.
    pub fn projection(&self, generation: Generation) -> Option<Projection> {
        self.tables.projection(generation)
    }

    /// The generation that answers.
    pub fn live_generation(&self) -> Generation {
        self.tables.live_generation()
    }

    /// The projection that is filled beside it.
    pub fn planned(&self) -> Option<Projection> {
        self.tables.planned().cloned()
    }

    /// Gives the resources that a record has just put the attribution that they have in `settings`, which is this catalog at a
    /// later revision: lookbacks, models, the order of identifiers. No verdict depends on any of it, and at that revision
    /// nothing of it is left, because every resource stands there as it was put last.
    pub fn take_attribution(&mut self, settings: &Self, put: &[Resource]) {
        for resource in put {
            if let Resource::Workspace(workspace) = resource
                && let Some(later) = settings.workspace(workspace.number)
                && let Some(row) = self.tables.workspaces.get_mut(&workspace.number)
            {
                Arc::make_mut(row).attribution = later.attribution;
            }
            if let Resource::Offer(offer) = resource
                && let Some(later) = settings.offer(offer.workspace, offer.id)
            {
                self.tables.offers.edit(offer.workspace, offer.id, |row| {
                    row.click_lookback_micros = later.click_lookback_micros;
                    row.view_lookback_micros = later.view_lookback_micros;
                });
            }
        }
    }
}

impl Tables {
    fn projection(&self, generation: Generation) -> Option<Projection> {
        let implied = || (generation == Generation::FIRST).then_some(Projection::FIRST);
        self.projections.get(&generation).cloned().or_else(implied)
    }

    fn live_generation(&self) -> Generation {
        let live = self.projections.values().rev().find(|it| it.stage == Stage::Live);
        live.map_or(Generation::FIRST, |it| it.generation)
    }

    fn planned(&self) -> Option<&Projection> {
        self.projections.values().find(|it| it.stage == Stage::Planned)
    }
}

/// Judges what is said of a projection.
pub(super) fn admit(tables: &Tables, projection: &Projection, revision: u64) -> Result<(), Rejected> {
    let live = tables.live_generation();
    let Some(before) = tables.projection(projection.generation) else {
        return admit_new(tables, projection, revision);
    };
    if (projection.after, projection.settings_of) != (before.after, before.settings_of) {
        return Err(Rejected::Immutable { field: "after" });
    }
    match (before.stage, projection.stage) {
        (Stage::Planned, Stage::Live | Stage::Dropped) => Ok(()),
        (Stage::Live, Stage::Dropped) if before.generation < live => Ok(()),
        (Stage::Planned | Stage::Live | Stage::Dropped, Stage::Planned | Stage::Live | Stage::Dropped) => {
            Err(Rejected::Immutable { field: "stage" })
        }
    }
}

fn admit_new(tables: &Tables, projection: &Projection, revision: u64) -> Result<(), Rejected> {
    if let Some(planned) = tables.planned() {
        let id = planned.generation.to_string();
        return Err(Rejected::Exists { kind: ResourceKind::Projection, field: "planned", id });
    }
    let last = tables.projections.keys().next_back().copied().unwrap_or(Generation::FIRST);
    let unknown = |field| Err(Rejected::UnknownReference { field });
    match projection {
        Projection { stage: Stage::Live | Stage::Dropped, .. } => unknown("stage"),
        it if it.generation != last.max(Generation::FIRST).next() => unknown("generation"),
        it if it.after != tables.live_generation() => unknown("after"),
        it if it.settings_of.is_some_and(|of| of > revision) => unknown("settings_of"),
        _ => Ok(()),
    }
}
