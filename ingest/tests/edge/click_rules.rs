//! Smart links: rules choose, visitors keep what they got.

use std::collections::BTreeMap;

use catalog::bootstrap::FIRST_WORKSPACE;
use catalog::{Condition, Field, Meta, Offer, Op, Rule, Target, TargetDestination, Test};
use schemas::event::{Choice, Click, label};
use schemas::id::{OfferId, RuleId};

use crate::fixture::NOW;
use crate::harness::TestEdge;

fn test(field: Field, op: Op, value: &str) -> Condition {
    Condition::Test(Test { field, op, value: vec![value.to_owned()] })
}

fn to_url(path: &str, weight: u32) -> Target {
    Target {
        destination: TargetDestination::Url(format!("https://shop.example/{path}?cid={{click_id}}")),
        weight,
    }
}

/// Where a click by this link went, and the click.
async fn led(edge: &TestEdge, uri: &str, headers: &[(&str, &str)]) -> (String, Click) {
    let answer = edge.get_with(uri, headers).await;
    let click = edge.last_click().await;
    assert_eq!(answer.header("location"), Some(click.destination_url.as_str()));
    (answer.header("location").unwrap().replace(&click.id.to_string(), "ID"), click)
}

#[tokio::test]
async fn the_first_rule_that_matches_leads() {
    let mut edge = TestEdge::start().await;
    let ids: [RuleId; 3] = std::array::from_fn(|_| edge.new_id());
    let rules = [
        (
            Condition::And(vec![test(Field::Sub(2), Op::Eq, "x"), test(Field::UtmSource, Op::Eq, "mail")]),
            "both",
        ),
        (test(Field::Referrer, Op::Eq, "news.example"), "news"),
        (test(Field::Visitor, Op::Eq, "returning"), "again"),
    ];
    let rules = ids.into_iter().zip(rules);
    let rules: Vec<_> =
        rules.map(|(id, (when, path))| Rule { id, when, to: vec![to_url(path, 1)] }).collect();
    edge.change_link("anna", |link| link.rules = rules).await;
    let version = edge.follower.read().link_by_key(None, "anna").unwrap().meta.version;
    let known = ("cookie", "tb_vid=vis_01h455vb4pex5vsknk084sn02q");
    let from_news = ("referer", "https://www.news.example:443/today?x");
    for (query, headers, path, rule) in [
        ("sub2=x&utm_source=mail", &[known, from_news][..], "both?cid=ID&utm_source=mail", Some(0)),
        ("sub2=x", &[known, from_news], "news?cid=ID", Some(1)),
        ("", &[known], "again?cid=ID", Some(2)),
        ("", &[known, ("sec-gpc", "1")], "?cid=ID&s=", None),
        ("", &[], "?cid=ID&s=", None),
    ] {
        let (location, click) = led(&edge, &format!("/c/anna?{query}"), headers).await;
        assert_eq!(location, format!("https://shop.example/{path}"), "{query}");
        let choice = rule.map(|rule: usize| Choice { rule: ids[rule], version, variant: 0 });
        assert_eq!(click.choice, choice, "{query}");
    }
}

#[tokio::test]
async fn a_visitor_keeps_what_it_got() {
    let mut edge = TestEdge::start().await;
    let rule = edge.new_id();
    let to = vec![to_url("a", 1), to_url("b", 1)];
    edge.change_link("anna", |link| link.rules = vec![Rule { id: rule, when: Condition::And(vec![]), to }])
        .await;
    let mut seen: BTreeMap<u32, u32> = BTreeMap::new();
    for _ in 0..40 {
        let answer = edge.get("/c/anna").await;
        let first = edge.last_click().await;
        let cookie = answer.header("set-cookie").unwrap().split(';').next().unwrap().to_owned();
        // With the cookie of the first answer, wherever it goes.
        let (_, second) = led(&edge, "/c/anna?sub1=x", &[("cookie", &cookie)]).await;
        assert_eq!(first.choice, second.choice);
        assert_eq!(first.hit.visitor, second.hit.visitor);
        *seen.entry(first.choice.unwrap().variant).or_default() += 1;
    }
    // One in 2^39 that all forty get the same.
    assert_eq!(seen.len(), 2, "{seen:?}");
    // Who refuses to be recognised gets whatever comes, and no id.
    let mut variants: Vec<u32> = Vec::new();
    for _ in 0..40 {
        let (_, click) = led(&edge, "/c/anna", &[("sec-gpc", "1")]).await;
        assert_eq!(click.hit.visitor, None);
        variants.push(click.choice.unwrap().variant);
    }
    variants.sort_unstable();
    variants.dedup();
    assert_eq!(variants, [0, 1]);
}

/// Another offer of the first workspace.
async fn second_offer(edge: &mut TestEdge, change: impl FnOnce(&mut Offer)) -> OfferId {
    let id = edge.new_id();
    let stored = edge.follower.read().offer(FIRST_WORKSPACE, edge.fixture.offer).cloned().unwrap();
    let mut offer = Offer {
        id,
        name: "Boots".into(),
        destination_url: "https://boots.example/{partner|default:nobody}".into(),
        click_id_param: "bid".into(),
        meta: Meta::new(NOW),
        ..stored
    };
    change(&mut offer);
    edge.put(vec![offer.into()]).await;
    id
}

#[tokio::test]
async fn a_rule_that_names_an_offer_makes_a_click_on_that_offer() {
    let mut edge = TestEdge::start().await;
    let boots = second_offer(&mut edge, |_| ()).await;
    let rule: RuleId = edge.new_id();
    let to = vec![Target { destination: TargetDestination::Offer(boots), weight: 1 }];
    let own_address = Some("https://shop.example/of-the-link".to_owned());
    edge.change_link("anna", |link| {
        link.destination_url = own_address;
        link.rules = vec![Rule { id: rule, when: test(Field::Sub(1), Op::Eq, "boots"), to }];
    })
    .await;
    let (location, click) = led(&edge, "/c/anna?sub1=boots", &[]).await;
    assert_eq!(location, format!("https://boots.example/{}?bid=ID", edge.fixture.partner));
    assert_eq!((click.hit.offer, click.choice.unwrap().rule), (boots, rule));
    let (location, click) = led(&edge, "/c/anna", &[]).await;
    assert_eq!(location, "https://shop.example/of-the-link?click_id=ID");
    assert_eq!((click.hit.offer, click.choice), (edge.fixture.offer, None));
    // An offer that takes no clicks sends them to the nearest fallback, and there is no click.
    edge.change_link("anna", |link| link.fallback_url = Some("https://shop.example/fallback".into())).await;
    let gone = edge.follower.read().offer(FIRST_WORKSPACE, boots).cloned().unwrap();
    edge.put(vec![Offer { meta: Meta { archived: true, ..gone.meta.clone() }, ..gone }.into()]).await;
    let answer = edge.get("/c/anna?sub1=boots").await;
    assert_eq!(answer.header("location"), Some("https://shop.example/fallback"));
    assert_eq!((answer.header("x-receipt"), edge.events().await.len()), (None, 2));
}

#[tokio::test]
async fn who_names_the_destination_is_not_asked_about() {
    let mut edge = TestEdge::start().await;
    edge.change_offer(|offer| offer.allowed_hosts = vec!["shop.example".into()]).await;
    let rule = edge.new_id();
    let to = vec![to_url("rule", 1)];
    edge.change_link("anna", |link| link.rules = vec![Rule { id: rule, when: Condition::And(vec![]), to }])
        .await;
    let (location, click) = led(&edge, "/c/anna?u=https://shop.example/mine", &[]).await;
    assert_eq!((location.as_str(), click.choice), ("https://shop.example/mine?click_id=ID", None));
    let (location, click) = led(&edge, "/c/anna?u=https://evil.example/", &[]).await;
    assert_eq!(location, "https://shop.example/rule?cid=ID");
    assert!(click.choice.is_some() && click.hit.labels.contains(&label::UNSAFE_DESTINATION.to_owned()));
}
