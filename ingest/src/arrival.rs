//! A hit on something that takes hits: who came, by whom, and with what; what clicks and impressions have in common.

use std::borrow::Cow;

use catalog::Catalog;
use http::Method;
use schemas::event::{Hit, label};
use schemas::id::{VisitorId, WorkspaceNumber};
use schemas::time::Timestamp;
use service::lifecycle::Encrypted;

use crate::aim::Aim;
use crate::click_parameters::ClickParameters;
use crate::client::{self, Asked, Seen};
use crate::edge::Edge;
use crate::visit::Visit;

/// A request for a hit, as far as it can be read without the catalog.
pub(crate) struct Arriving<'r> {
    pub(crate) visit: &'r Visit,
    pub(crate) parameters: ClickParameters<'r>,
    pub(crate) now: Timestamp,
    /// Its client has made too many of them.
    is_excess: bool,
}

impl<'r> Arriving<'r> {
    /// The request arrives now, and is counted.
    pub(crate) fn now(edge: &Edge, visit: &'r Visit, parameters: ClickParameters<'r>) -> Self {
        Self { visit, parameters, now: edge.now(), is_excess: edge.is_excess(visit.client) }
    }
}

/// A hit that is about to be written down, and the cookie that makes its visitor known again.
pub(crate) struct Arrived {
    pub(crate) hit: Hit,
    pub(crate) cookie: Option<String>,
}

impl Arrived {
    /// Whether the visitor was known before. Whoever may not be recognised is new every time.
    pub(crate) const fn is_returning(&self) -> bool {
        self.hit.visitor.is_some() && self.cookie.is_none()
    }
}

/// A hit and what it is aimed at.
#[derive(Clone, Copy)]
pub(crate) struct Arrival<'a> {
    pub(crate) edge: &'a Edge,
    pub(crate) catalog: &'a Catalog,
    pub(crate) aim: Aim<'a>,
    pub(crate) arriving: &'a Arriving<'a>,
}

impl Arrival<'_> {
    /// The hit, with the labels that its request alone deserves.
    pub(crate) fn arrived(&self) -> Arrived {
        let Arriving { visit, parameters, now, is_excess } = self.arriving;
        let seen = self.edge.clients().look(&self.asked(), self.aim.workspace);
        let (visitor, cookie) = self.visitor(&seen);
        let cost = parameters.cost(self.aim.offer.currency);
        let is_test = parameters.is_test();
        let (partner, is_unknown_partner) = self.aim.partner(self.catalog, parameters.partner());
        let applying = [
            (label::HEAD, visit.parts.method == Method::HEAD),
            (label::RATE, *is_excess),
            (label::UNKNOWN_PARTNER, is_unknown_partner),
            (label::UNRESOLVED_MACRO, parameters.is_unresolved),
            (label::REPAIRED_URL, parameters.is_repaired),
            (label::REPEATED_PARAMETER, parameters.is_repeated),
            (label::DROPPED_PARAMETER, parameters.is_dropped || cost.is_err() || is_test.is_none()),
        ];
        let labels = applying.into_iter().filter(|(_, applies)| *applies);
        let owned = |text: &Option<Cow<'_, str>>| text.as_deref().unwrap_or_default().to_owned();
        let mut hit = Hit {
            link: self.aim.link.map(|link| link.id),
            partner,
            visitor,
            creative: self.creative().to_owned(),
            subs: parameters.stored_subs(),
            source_id: owned(&parameters.source_id),
            params: parameters
                .passed
                .iter()
                .map(|(name, value)| (name.as_ref().to_owned(), value.as_ref().to_owned()))
                .collect(),
            labels: labels.map(|(label, _)| label.to_owned()).collect(),
            cost: cost.unwrap_or_default(),
            test: is_test.unwrap_or_default(),
            ..Hit::new(self.aim.offer.id, *now)
        };
        seen.fill(&mut hit);
        Arrived { hit, cookie }
    }

    fn creative(&self) -> &str {
        let stored = || self.aim.link.and_then(|link| link.creative.as_deref()).unwrap_or_default();
        self.arriving.parameters.creative.as_deref().unwrap_or_else(stored)
    }

    /// The visitor, and the cookie that makes a new one known again. Neither for those who refuse to be followed.
    fn visitor(&self, seen: &Seen) -> (Option<VisitorId>, Option<String>) {
        if seen.visitor.is_some() || !seen.refusals.is_empty() {
            return (seen.visitor, None);
        }
        let new = self.edge.new_id(self.arriving.now, WorkspaceNumber::NONE);
        (Some(new), Some(client::visitor_cookie(new, self.is_https())))
    }

    /// Whether the browser came by https, so far as anybody tells.
    fn is_https(&self) -> bool {
        self.edge.settings().is_https()
            || self.arriving.visit.parts.extensions.get::<Encrypted>().is_some()
            || self.edge.clients().is_https_outside(&self.asked())
    }

    fn asked(&self) -> Asked<'_> {
        let Visit { parts, peer, client, .. } = self.arriving.visit;
        let consent = self.arriving.parameters.consent.as_deref();
        Asked { headers: &parts.headers, peer: *peer, client: *client, consent }
    }
}
