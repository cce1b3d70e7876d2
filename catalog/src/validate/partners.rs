//! What a partner must look like.

use std::collections::HashSet;

use super::{Faults, MAX_COUPON_CHARS, MAX_COUPONS, MAX_PAYOUTS, is_email, is_key, named, payout_faults};
use crate::resource::Partner;

pub(super) fn partner_faults(faults: &mut Faults, partner: &Partner) {
    named(faults, &partner.name, partner);
    if let Some(slug) = &partner.slug {
        faults.unless(is_key(slug), "slug", "must be 1 to 64 letters, digits, - and _");
        // References tell ids from slugs by the prefix.
        let is_id = slug.starts_with("part_");
        faults.unless(!is_id, "slug", "must not start with part_");
    }
    if let Some(email) = &partner.email {
        faults.unless(is_email(email), "email", "must be an e-mail address");
    }
    coupon_faults(faults, &partner.coupons);
    let count = partner.payouts.len() <= MAX_PAYOUTS;
    faults.unless(count, "payouts", format!("must be at most {MAX_PAYOUTS}"));
    let mut known = HashSet::new();
    for (index, own) in partner.payouts.iter().enumerate() {
        if own.goal.as_deref().is_some_and(|goal| !is_key(goal)) {
            faults.add(format!("payouts[{index}].goal"), "must be 1 to 64 letters, digits, - and _");
        }
        payout_faults(faults, &format!("payouts[{index}].amount"), own.payout);
        if !known.insert((own.offer, own.goal.as_deref())) {
            faults.add(format!("payouts[{index}].offer"), "has a payout for this goal already");
        }
    }
}

fn coupon_faults(faults: &mut Faults, coupons: &[String]) {
    faults.unless(coupons.len() <= MAX_COUPONS, "coupons", format!("must be at most {MAX_COUPONS}"));
    let mut known = HashSet::new();
    for (index, coupon) in coupons.iter().enumerate() {
        let field = format!("coupons[{index}]");
        let is_short = (1..=MAX_COUPON_CHARS).contains(&coupon.chars().count());
        if !is_short || coupon.trim() != coupon || coupon.contains(char::is_control) {
            faults
                .add(field, format!("must be 1 to {MAX_COUPON_CHARS} characters without spaces around them"));
        } else if !known.insert(coupon.to_lowercase()) {
            faults.add(field, "is there twice, whatever the case of its letters");
        }
    }
}
