//! What the query of a click says, and what becomes of what makes no sense.

use schemas::event::label;
use schemas::money::Currency;

use crate::harness::TestEdge;

fn has(labels: &[String], wanted: &str) -> bool {
    labels.iter().any(|label| label == wanted)
}

#[tokio::test]
async fn unresolved_macros_are_stored_labelled_and_not_sent_on() {
    let edge = TestEdge::start().await;
    let query = "sub1={clickid}&sub2=[[x]]&gclid=%7Bgclid%7D&fb={{ad.name}}&v=%257Bx%257D&ok=1&via={aff}";
    let answer = edge.get(&format!("/c/anna?{query}")).await;
    let (_, click) = edge.only_click().await;
    let location = format!("https://shop.example/?cid={}&s=&ok=1", click.id);
    assert_eq!(answer.header("location"), Some(location.as_str()));
    assert_eq!(click.hit.subs, ["{clickid}", "[[x]]"]);
    let kept: Vec<_> = click.hit.params.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    assert_eq!(kept, [("gclid", "{gclid}"), ("fb", "{{ad.name}}"), ("v", "%7Bx%7D"), ("ok", "1")]);
    assert!(
        has(&click.hit.labels, label::UNRESOLVED_MACRO) && has(&click.hit.labels, label::UNKNOWN_PARTNER)
    );
}

#[tokio::test]
async fn a_stored_parameter_stands_where_the_callers_was_not_resolved() {
    let edge = TestEdge::start().await;
    let answer = edge.get("/c/plain?utm_source={source}").await;
    let location = answer.header("location").unwrap();
    assert!(location.starts_with("https://shop.example/plain?utm_source=stored&a=1&click_id="), "{location}");
}

#[tokio::test]
async fn glued_queries_are_repaired() {
    let edge = TestEdge::start().await;
    let answer = edge.get("/c/anna?sub1=a?utm_source=b").await;
    let (_, click) = edge.only_click().await;
    assert_eq!(click.hit.subs, ["a"]);
    let location = format!("https://shop.example/?cid={}&s=a&utm_source=b", click.id);
    assert_eq!(answer.header("location"), Some(location.as_str()));
    assert!(has(&click.hit.labels, label::REPAIRED_URL));
}

#[tokio::test]
async fn what_a_click_cost_is_kept() {
    let edge = TestEdge::start().await;
    let euro = Currency::from_code("EUR").unwrap();
    for (query, cost, is_dropped) in [
        ("cost=0.0125", Some((12_500, euro)), false),
        ("cost=2&currency=USD", Some((2_000_000, Currency::USD)), false),
        ("cost=1e3", None, true),
        ("cost=-1", None, true),
        ("cost=1&currency=XXX", None, true),
        ("currency=USD", None, false),
    ] {
        let answer = edge.get(&format!("/c/anna?{query}")).await;
        assert!(!answer.header("location").unwrap().contains("cost"), "{query}");
        let hit = edge.last_click().await.hit;
        assert_eq!(hit.cost.map(|cost| (cost.micros, cost.currency)), cost, "{query}");
        assert_eq!(has(&hit.labels, label::DROPPED_PARAMETER), is_dropped, "{query}");
    }
}

#[tokio::test]
async fn tests_say_so_and_reserved_parameters_go_nowhere() {
    let edge = TestEdge::start().await;
    for (query, is_test, is_dropped) in
        [("test=1", true, false), ("test=0", false, false), ("test=x", false, true)]
    {
        edge.get(&format!("/c/anna?{query}")).await;
        let hit = edge.last_click().await.hit;
        assert_eq!((hit.test, has(&hit.labels, label::DROPPED_PARAMETER)), (is_test, is_dropped), "{query}");
    }
    let reserved = "key=1&via=&cost=1&currency=EUR&creative=c&consent=1&test=0&sig=1&exp=1&u=&source_id=s&ext_click_id=e";
    let answer = edge.get(&format!("/c/nobody?{reserved}")).await;
    let click = edge.last_click().await;
    let location = format!("https://shop.example/?cid={}&s=", click.id);
    assert_eq!(answer.header("location"), Some(location.as_str()));
    assert_eq!((click.hit.creative.as_str(), click.ext_click_id.as_str()), ("c", "e"));
    assert!(click.hit.params.is_empty());
}

#[tokio::test]
async fn every_macro_stands_for_its_value() {
    let mut edge = TestEdge::start().await;
    let names = ["link", "offer", "partner", "campaign|default:none", "sub1", "sub2|default:0", "sub3|raw"];
    let more = ["source_id", "timestamp", "rand"];
    let query: Vec<_> =
        names.iter().chain(&more).enumerate().map(|(n, name)| format!("p{n}={{{name}}}")).collect();
    let stored = format!("https://shop.example/{{click_id}}?{}", query.join("&"));
    edge.change_link("anna", |link| link.destination_url = Some(stored)).await;
    let answer = edge.get("/c/anna?sub1=a%20b%26&sub3=x/y&source_id=%C3%BC").await;
    let click = edge.last_click().await;
    let location = answer.header("location").unwrap();
    let (path, query) = location.split_once('?').unwrap();
    assert_eq!(path, format!("https://shop.example/{}", click.id));
    let values: Vec<_> = query.split('&').map(|pair| pair.split_once('=').unwrap().1).collect();
    let hit = &click.hit;
    assert_eq!(values[0], hit.link.unwrap().to_string());
    assert_eq!(values[1], hit.offer.to_string());
    assert_eq!(values[2], hit.partner.unwrap().to_string());
    assert_eq!(&values[3..8], ["none", "a%20b%26", "0", "x/y", "%C3%BC"]);
    assert_eq!(values[8], hit.occurred_at.unix_seconds().to_string());
    assert!(values[9].parse::<u64>().is_ok());
}
