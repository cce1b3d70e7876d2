//! Destinations that the caller names.

use catalog::{PreviousSealed, Source, SourceAuth};
use hmac::{Hmac, KeyInit, Mac};
use schemas::event::label;
use schemas::id::SourceId;
use sha2::Sha256;

use crate::fixture::NOW;
use crate::harness::{TestEdge, sealer};

async fn edge_with_hosts() -> TestEdge {
    let mut edge = TestEdge::start().await;
    let allowed = ["shop.example", "*.brand.example", "myapp:"].map(str::to_owned).to_vec();
    edge.change_offer(|offer| offer.allowed_hosts = allowed).await;
    edge
}

fn encoded(text: &str) -> String {
    url::form_urlencoded::byte_serialize(text.as_bytes()).collect()
}

/// Where the click with this destination went, its own id left out, and whether it is labelled.
async fn led(edge: &TestEdge, query: &str) -> (String, bool) {
    let answer = edge.get(&format!("/c/anna?{query}")).await;
    assert_eq!(answer.status, 302, "{query}");
    let click = edge.last_click().await;
    let location = answer.header("location").unwrap().replace(&click.id.to_string(), "ID");
    let is_unsafe = click.hit.labels.iter().any(|known| known == label::UNSAFE_DESTINATION);
    (location, is_unsafe)
}

#[tokio::test]
async fn hosts_on_the_offers_list_are_followed() {
    let edge = edge_with_hosts().await;
    for (wanted, location) in [
        (
            "https://shop.example/shoes/7?color=red#top",
            "https://shop.example/shoes/7?color=red&click_id=ID#top",
        ),
        ("http://de.brand.example", "http://de.brand.example/?click_id=ID"),
        ("myapp://cart?click_id=forged", "myapp://cart?click_id=ID"),
        ("https://shop.example/?q={\"a\":1}", "https://shop.example/?q=%7B%22a%22:1%7D&click_id=ID"),
    ] {
        assert_eq!(
            led(&edge, &format!("u={}", encoded(wanted))).await,
            (location.to_owned(), false),
            "{wanted}"
        );
    }
    let (location, _) = led(&edge, "utm_source=mine&u=https://shop.example/?utm_source=theirs").await;
    assert_eq!(location, "https://shop.example/?utm_source=mine&click_id=ID");
}

#[tokio::test]
async fn everything_else_leads_to_the_stored_destination() {
    let edge = edge_with_hosts().await;
    for wanted in [
        "//evil.example",
        "\\\\evil.example",
        "https://user@shop.example/",
        "https://shop.example@evil.example/",
        "https://shop.example/%0d%0aSet-Cookie: x=1",
        "https://shop.example/\r\nSet-Cookie: x=1",
        "javascript:alert(1)",
        "data:text/html,x",
        "http:evil.example",
        "https:/\\evil.example",
        "https://evil\t.example/",
        "https://shоp.example/",
        "https://brand.example/",
        "https://shop.example.evil.example/",
        "otherapp://cart",
        "shop.example",
    ] {
        let query = format!("u={}", encoded(wanted));
        assert_eq!(
            led(&edge, &query).await,
            ("https://shop.example/?cid=ID&s=".to_owned(), true),
            "{wanted}"
        );
    }
    for not_wanted in ["u=", "u={lpurl}", "u=https://shop.example/{page}"] {
        assert_eq!(led(&edge, not_wanted).await, ("https://shop.example/?cid=ID&s=".to_owned(), false));
    }
    let by_offer = format!("/click?offer={}&u=https://evil.example/", edge.fixture.offer);
    assert!(edge.get(&by_offer).await.header("location").unwrap().starts_with("https://shop.example/"));
}

fn signed_source(id: SourceId, template: &Source, archived: bool) -> Source {
    let previous = PreviousSealed {
        secret: sealer().seal(id, "old secret").unwrap(),
        valid_until: schemas::time::Timestamp::from_micros(NOW.micros() + 1),
    };
    let auth = SourceAuth::Signed { secret: sealer().seal(id, "secret").unwrap(), previous: Some(previous) };
    let mut source = Source { id, auth, ..template.clone() };
    source.meta.archived = archived;
    source
}

fn query(source: SourceId, secret: &str, subject: &str, expires: i64, address: &str) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap();
    mac.update(format!("destination-v1\n{subject}\n{expires}\n{address}").as_bytes());
    let code = schemas::hex::encode(&<[u8; 32]>::from(mac.finalize().into_bytes()));
    format!("u={}&exp={expires}&sig={source}.{code}", encoded(address))
}

#[tokio::test]
async fn a_signed_address_is_followed_until_it_expires() {
    let mut edge = edge_with_hosts().await;
    let (source, archived) = (edge.new_id(), edge.new_id());
    let open = edge.follower.read().source(edge.fixture.open_source).cloned().unwrap();
    edge.put(vec![signed_source(source, &open, false).into(), signed_source(archived, &open, true).into()])
        .await;
    let link = edge.follower.read().link_by_key(None, "anna").unwrap().id.to_string();
    let other = edge.follower.read().link_by_key(None, "nobody").unwrap().id.to_string();
    let address = "https://elsewhere.example/cart?id=7";
    let later = NOW.unix_seconds() + 60;
    let good = query(source, "secret", &link, later, address);
    let followed = ("https://elsewhere.example/cart?id=7&click_id=ID".to_owned(), false);
    assert_eq!(led(&edge, &good).await, followed);
    // The secret before a rotation is good for as long as its grace lasts.
    assert_eq!(led(&edge, &query(source, "old secret", &link, later, address)).await, followed);
    for bad in [
        query(source, "another secret", &link, later, address),
        query(source, "secret", &other, later, address),
        query(source, "secret", &link, NOW.unix_seconds(), address),
        query(archived, "secret", &link, later, address),
        query(edge.fixture.open_source, "secret", &link, later, address),
        query(edge.fixture.token_source, "", &link, later, address),
        query(source, "secret", &link, later, "https://user@elsewhere.example/"),
        query(source, "secret", &link, later, "javascript:alert(1)"),
        good.replace("elsewhere", "evil"),
        good.replace("exp=", "exp=9"),
        good.replace("&exp=", "&currency="),
    ] {
        assert_eq!(led(&edge, &bad).await, ("https://shop.example/?cid=ID&s=".to_owned(), true), "{bad}");
    }
    let offer = edge.fixture.offer.to_string();
    let by_offer = query(source, "secret", &offer, later, address);
    let answer = edge.get(&format!("/click?offer={offer}&{by_offer}")).await;
    assert!(answer.header("location").unwrap().starts_with("https://elsewhere.example/cart?id=7&click_id="));
    edge.clock.advance(std::time::Duration::from_secs(60));
    assert!(led(&edge, &good).await.1);
}
