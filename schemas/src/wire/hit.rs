//! Clicks and impressions on the wire.

use super::conversion::{money_from_pb, money_to_pb};
use super::pb_events as pb;
use super::{WireError, id, id_bytes, optional_id, optional_id_bytes, present};
use crate::event::{Choice, Click, Hit, Impression};
use crate::time::Timestamp;

/// `sub1` to `sub10`.
const MAX_SUBS: usize = 10;

pub(super) fn click_to_pb(click: Click) -> pb::Click {
    pb::Click {
        id: id_bytes(click.id),
        hit: Some(hit_to_pb(click.hit)),
        ext_click_id: click.ext_click_id,
        destination_url: click.destination_url,
        choice: click.choice.map(|choice| pb::Choice {
            rule: id_bytes(choice.rule),
            version: choice.version,
            variant: choice.variant,
        }),
    }
}

pub(super) fn click_from_pb(click: pb::Click) -> Result<Click, WireError> {
    Ok(Click {
        id: id(&click.id, "click.id")?,
        hit: hit_from_pb(present(click.hit, "click.hit")?)?,
        ext_click_id: click.ext_click_id,
        destination_url: click.destination_url,
        choice: click.choice.as_ref().map(choice_from_pb).transpose()?,
    })
}

fn choice_from_pb(choice: &pb::Choice) -> Result<Choice, WireError> {
    Ok(Choice { rule: id(&choice.rule, "choice.rule")?, version: choice.version, variant: choice.variant })
}

pub(super) fn impression_to_pb(impression: Impression) -> pb::Impression {
    pb::Impression { id: id_bytes(impression.id), hit: Some(hit_to_pb(impression.hit)) }
}

pub(super) fn impression_from_pb(impression: pb::Impression) -> Result<Impression, WireError> {
    Ok(Impression {
        id: id(&impression.id, "impression.id")?,
        hit: hit_from_pb(present(impression.hit, "impression.hit")?)?,
    })
}

fn hit_to_pb(hit: Hit) -> pb::Hit {
    let parameter = |(name, value)| pb::Parameter { name, value };
    pb::Hit {
        link: optional_id_bytes(hit.link),
        offer: id_bytes(hit.offer),
        partner: optional_id_bytes(hit.partner),
        campaign: optional_id_bytes(hit.campaign),
        visitor: optional_id_bytes(hit.visitor),
        creative: hit.creative,
        subs: hit.subs,
        source_id: hit.source_id,
        params: hit.params.into_iter().map(parameter).collect(),
        labels: hit.labels,
        referrer: hit.referrer,
        user_agent: hit.user_agent,
        address: hit.address,
        language: hit.language,
        browser: hit.browser,
        os: hit.os,
        device: hit.device,
        country: hit.country,
        region: hit.region,
        city: hit.city,
        cost: hit.cost.map(money_to_pb),
        test: hit.test,
        occurred_at: hit.occurred_at.micros(),
    }
}

fn hit_from_pb(hit: pb::Hit) -> Result<Hit, WireError> {
    if hit.subs.len() > MAX_SUBS {
        return Err(WireError::Impossible("hit.subs"));
    }
    Ok(Hit {
        link: optional_id(&hit.link, "hit.link")?,
        offer: id(&hit.offer, "hit.offer")?,
        partner: optional_id(&hit.partner, "hit.partner")?,
        campaign: optional_id(&hit.campaign, "hit.campaign")?,
        visitor: optional_id(&hit.visitor, "hit.visitor")?,
        creative: hit.creative,
        subs: hit.subs,
        source_id: hit.source_id,
        params: hit.params.into_iter().map(|parameter| (parameter.name, parameter.value)).collect(),
        labels: hit.labels,
        referrer: hit.referrer,
        user_agent: hit.user_agent,
        address: hit.address,
        language: hit.language,
        browser: hit.browser,
        os: hit.os,
        device: hit.device,
        country: hit.country,
        region: hit.region,
        city: hit.city,
        cost: hit.cost.as_ref().map(money_from_pb).transpose()?,
        test: hit.test,
        occurred_at: Timestamp::from_micros(hit.occurred_at),
    })
}
