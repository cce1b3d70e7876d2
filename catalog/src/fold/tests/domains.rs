//! Domains, and the links and pixels that stand on references.

use super::*;

fn taken(kind: ResourceKind, field: &'static str, by: &str) -> Rejected {
    Rejected::Exists { kind, field, id: by.to_owned() }
}

#[test]
fn a_link_key_is_unique_per_domain() {
    let mut catalog = catalog();
    for (number, hostname) in [(1, "a.example"), (2, "b.example")] {
        try_one(&mut catalog, put(domain(1, number, hostname), Expected::New)).unwrap();
    }
    for (number, on) in [(1, None), (2, Some(id(1))), (3, Some(id(2)))] {
        let link = Link { domain: on, ..link(1, number, "anna", 1, None) };
        try_one(&mut catalog, put(link, Expected::New)).unwrap();
        assert_eq!(catalog.link_by_key(on, "anna").map(|link| link.id), Some(id(number)));
    }
    let first: schemas::id::LinkId = id(2);
    let second = Link { domain: Some(id(1)), ..link(1, 4, "anna", 1, None) };
    let refused = try_one(&mut catalog, put(second, Expected::New));
    assert_eq!(refused, Err(taken(ResourceKind::Link, "key", &first.to_string())));
    // A link that moves leaves its key behind.
    let moved = Link { domain: Some(id(2)), ..link(1, 2, "berta", 1, None) };
    try_one(&mut catalog, put(moved, Expected::Any)).unwrap();
    assert_eq!(catalog.link_by_key(Some(id(1)), "anna"), None);
    assert_eq!(catalog.link_by_key(Some(id(2)), "berta").map(|link| link.id), Some(id(2)));
}

#[test]
fn a_host_name_has_one_owner_in_the_installation() {
    let mut catalog = catalog();
    try_one(&mut catalog, put(domain(1, 1, "a.example"), Expected::New)).unwrap();
    let first: schemas::id::DomainId = id(1);
    let mine = try_one(&mut catalog, put(domain(1, 2, "a.example"), Expected::New));
    assert_eq!(mine, Err(taken(ResourceKind::Domain, "hostname", &first.to_string())));
    let foreign = fold(&mut catalog, &proposal(11, vec![put(domain(2, 3, "a.example"), Expected::New)]));
    assert_eq!(foreign, Err(taken(ResourceKind::Domain, "hostname", "")));
    // A foreign domain is none to refer to.
    fold(&mut catalog, &proposal(12, vec![put(domain(2, 4, "b.example"), Expected::New)])).unwrap();
    let link = Link { domain: Some(id(4)), ..link(1, 1, "anna", 1, None) };
    let refused = try_one(&mut catalog, put(link, Expected::New));
    assert_eq!(refused, Err(Rejected::UnknownReference { field: "domain" }));
}

#[test]
fn new_references_lead_to_something_that_is_there() {
    let mut catalog = catalog();
    let rule = |offer: u8| Rule {
        id: id(1),
        when: Condition::And(Vec::new()),
        to: vec![Target { destination: TargetDestination::Offer(id(offer)), weight: 1 }],
    };
    let with = |rules: Vec<Rule>| Link { rules, ..link(1, 1, "anna", 1, None) };
    let unknown = |field| Err(Rejected::UnknownReference { field });
    assert_eq!(try_one(&mut catalog, put(with(vec![rule(3)]), Expected::New)).map(drop), unknown("rules"));
    assert_eq!(try_one(&mut catalog, put(pixel(1, 1, 3), Expected::New)).map(drop), unknown("offer"));
    try_one(&mut catalog, put(offer(1, 3), Expected::New)).unwrap();
    try_one(&mut catalog, put(with(vec![rule(3)]), Expected::New)).unwrap();
    try_one(&mut catalog, put(pixel(1, 1, 3), Expected::New)).unwrap();
    let mut archived = offer(1, 3);
    archived.meta.archived = true;
    try_one(&mut catalog, put(archived, Expected::Any)).unwrap();
    // What refers to it already may go on doing so.
    try_one(&mut catalog, put(with(vec![rule(3), Rule { id: id(2), ..rule(1) }]), Expected::Any)).unwrap();
    try_one(&mut catalog, put(pixel(1, 1, 3), Expected::Any)).unwrap();
    assert_eq!(try_one(&mut catalog, put(pixel(1, 2, 3), Expected::New)).map(drop), unknown("offer"));
}
