//! What holds for any sequence of proposals.

use std::ops::Bound;

use super::*;

fn any_expected() -> impl Strategy<Value = Expected> {
    prop_oneof![
        3 => Just(Expected::New),
        2 => (0_u64..4).prop_map(Expected::Version),
        2 => Just(Expected::Any),
    ]
}

fn any_resource() -> impl Strategy<Value = Resource> {
    let spaces = 1_u32..4;
    let small = 0_u8..4;
    let external = proptest::option::of(
        (0_u8..2).prop_map(|number| ExternalId { source: "crm".into(), id: number.to_string() }),
    );
    let shape = (spaces, small, 0_u8..4, proptest::option::of(0_u8..4), any::<bool>(), external);
    (0_u8..10, shape).prop_map(|(kind, (space, number, other, maybe, archived, external))| {
        let text = format!("t{other}");
        let mut resource = match kind {
            0 => Resource::Installation(Installation { events_partitions: 1 }),
            1 => workspace(space),
            2 => offer(space, number).into(),
            3 => partner(space, number, maybe.map(|_| text.as_str())).into(),
            4 => Link { domain: maybe.map(id), ..link(space, number, &text, other, maybe) }.into(),
            5 => Source {
                id: id(number),
                workspace: workspace_number(space),
                name: text,
                auth: SourceAuth::Token { sha256: [other; 32], previous: None },
                allowed_cidrs: Vec::new(),
                params: BTreeMap::new(),
                status_map: BTreeMap::new(),
                defaults: BTreeMap::new(),
                meta: meta(),
            }
            .into(),
            6 => pixel(space, number, other).into(),
            7 => domain(space, number, &text).into(),
            8 => rates::rate(space, other, "EUR", &format!("1.{number}")).into(),
            _ => {
                let mut key = key(space, number, &text);
                key.previous = maybe.map(|maybe| PreviousSecret {
                    sha256: hash_secret(&format!("t{maybe}")),
                    valid_until: Timestamp::from_micros(50),
                });
                key.into()
            }
        };
        if let Some(meta) = resource.meta_mut() {
            meta.archived = archived;
            meta.external = external;
        }
        resource
    })
}

fn any_proposal() -> impl Strategy<Value = Proposal> {
    let changes = proptest::collection::vec((any_resource(), any_expected()), 0..4);
    let idempotency = proptest::option::of((0_u8..3, 0_u8..2));
    (0_i64..3 * DAY, changes, idempotency).prop_map(|(at, changes, idempotency)| {
        let changes = changes.into_iter().map(|(resource, expected)| put(resource, expected)).collect();
        let mut proposal = proposal(at, changes);
        proposal.idempotency = idempotency
            .map(|(key, payload)| Idempotency { key: key.to_string(), payload_sha256: [payload; 32] });
        proposal
    })
}

/// Indexes say what the rows say.
fn check_indexes(catalog: &Catalog) {
    for number in 1..4 {
        let space = workspace_number(number);
        for link in catalog.links(space) {
            assert_eq!(catalog.link_by_key(link.domain, &link.key), Some(link));
            assert!(link.domain.is_none_or(|domain| catalog.domain(domain).is_some()));
            assert_eq!(catalog.offer(space, link.offer).map(|offer| offer.id), Some(link.offer));
        }
        for partner in catalog.partners(space) {
            if let Some(slug) = &partner.slug {
                assert_eq!(catalog.partner_by_slug(space, slug), Some(partner));
            }
            if let Some(external) = &partner.meta.external {
                assert_eq!(catalog.by_external::<Partner>(space, external), Some(partner));
            }
        }
        for rate in catalog.rates(space, Bound::Unbounded, Bound::Unbounded) {
            assert_eq!(catalog.rate_of(space, &rate.key()), Some(rate));
            assert!(catalog.rates_changed_after(space, rate.stamp.revision - 1).any(|other| other == rate));
            assert!((1..=catalog.rates_revision(space)).contains(&rate.stamp.revision));
        }
        let listed = catalog.rates(space, Bound::Unbounded, Bound::Unbounded).count();
        assert_eq!(catalog.rates_changed_after(space, 0).count(), listed);
        for domain in catalog.ascending::<Domain>(space, None) {
            assert_eq!(catalog.domain_by_host(&domain.hostname), Some(domain));
            assert_eq!(catalog.domain(domain.id), Some(domain));
        }
        for pixel in catalog.ascending::<Pixel>(space, None) {
            assert_eq!(catalog.pixel(pixel.id), Some(pixel));
        }
        for source in catalog.sources(space) {
            assert_eq!(catalog.source(source.id), Some(source));
        }
    }
}

proptest! {
    #[test]
    fn any_sequence_of_proposals_is_decided_the_same_everywhere(proposals in proptest::collection::vec(any_proposal(), 1..40)) {
        let (mut one, mut other) = (Catalog::new(), Catalog::new());
        fold(&mut one, &first_records()).unwrap();
        fold(&mut other, &first_records()).unwrap();
        for proposal in &proposals {
            let before = one.clone();
            let verdict = fold(&mut one, proposal);
            prop_assert_eq!(&verdict, &fold(&mut other, proposal));
            if verdict.is_err() {
                prop_assert_eq!(&one.tables, &before.tables, "a rejected proposal left a trace");
                prop_assert_eq!(&one.answers, &before.answers);
            }
            check_indexes(&one);
        }
        prop_assert_eq!(&one, &other);
    }

    #[test]
    fn a_proposal_survives_the_wire(proposal in any_proposal()) {
        let payload = record::encode(&proposal).unwrap();
        prop_assert_eq!(record::decode(&payload), Ok(proposal));
    }

    #[test]
    fn random_bytes_are_an_error_and_change_nothing(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let mut catalog = catalog();
        let before = catalog.clone();
        let record = record_at(before.revision().number, bytes.into());
        prop_assert!(catalog.fold(&record).is_err());
        prop_assert_eq!(catalog, before);
    }

    #[test]
    fn a_flipped_byte_never_panics(proposal in any_proposal(), at in any::<prop::sample::Index>(), flip in 1_u8..) {
        let mut payload = record::encode(&proposal).unwrap().to_vec();
        let at = at.index(payload.len());
        payload[at] ^= flip;
        let mut catalog = catalog();
        let next = catalog.revision().number;
        if let Ok(folded) = catalog.fold(&record_at(next, payload.into())) {
            prop_assert_eq!(catalog.revision().number, next + 1);
            drop(folded);
        }
    }
}
