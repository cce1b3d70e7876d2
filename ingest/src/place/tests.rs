use std::net::Ipv4Addr;

use tempfile::TempDir;

use super::mmdb::{Value, database};
use super::*;

const BERLIN: &str = "203.0.113.7";
const SOMEWHERE_IN_FRANCE: &str = "198.51.100.7";
const NOWHERE: &str = "192.0.2.1";

fn country(code: &'static str) -> (&'static str, Value) {
    ("country", Value::Map(vec![("iso_code", Value::Text(code)), ("geoname_id", Value::Integer(1))]))
}

fn named(name: &'static str) -> Value {
    Value::Map(vec![("names", Value::Map(vec![("de", Value::Text("?")), ("en", Value::Text(name))]))])
}

/// Berlin, and France without more.
fn file(berlin: &'static str, build_epoch: u32) -> Vec<u8> {
    let regions = Value::List(vec![
        Value::Map(vec![("iso_code", Value::Text("BE")), ("names", Value::Map(vec![]))]),
        Value::Map(vec![("iso_code", Value::Text("XYZ"))]),
    ]);
    let city = Value::Map(vec![
        ("city", named(berlin)),
        ("continent", Value::Map(vec![("code", Value::Text("EU"))])),
        country("DE"),
        ("subdivisions", regions),
    ]);
    let france = Value::Map(vec![country("FR")]);
    let odd = Value::Map(vec![country("not a code"), ("city", named("Nowhere"))]);
    let networks = [
        (Ipv4Addr::new(203, 0, 113, 0), 24, city),
        (Ipv4Addr::new(198, 51, 100, 0), 24, france),
        (Ipv4Addr::new(192, 0, 2, 0), 25, odd),
    ];
    database(&networks, build_epoch)
}

async fn open(dir: &TempDir, registry: &Registry) -> Places {
    Places::open(&dir.path().join("places.mmdb"), registry).await.unwrap()
}

fn write(dir: &TempDir, bytes: &[u8]) {
    std::fs::write(dir.path().join("places.mmdb"), bytes).unwrap();
}

fn place(country: &str, region: &str, city: &str) -> Place {
    Place { country: country.to_owned(), region: region.to_owned(), city: city.to_owned() }
}

fn find(places: &Places, address: &str, stated: Option<&str>) -> Place {
    places.find(address.parse().unwrap(), stated.map(str::as_bytes))
}

#[tokio::test]
async fn an_address_lies_where_the_file_says() {
    let dir = TempDir::new().unwrap();
    write(&dir, &file("Berlin", 1));
    let places = open(&dir, &Registry::new()).await;
    assert_eq!(find(&places, BERLIN, None), place("DE", "DE-BE", "Berlin"));
    assert_eq!(find(&places, SOMEWHERE_IN_FRANCE, None), place("FR", "", ""));
    for unknown in [NOWHERE, "127.0.0.1", "2001:db8::1"] {
        assert_eq!(find(&places, unknown, None), Place::default(), "{unknown}");
    }
}

#[tokio::test]
async fn a_stated_country_counts_and_takes_no_city_of_another() {
    let dir = TempDir::new().unwrap();
    write(&dir, &file("Berlin", 1));
    let places = open(&dir, &Registry::new()).await;
    assert_eq!(find(&places, BERLIN, Some("de")), place("DE", "DE-BE", "Berlin"));
    assert_eq!(find(&places, BERLIN, Some("AT")), place("AT", "", ""));
    for no_country in ["XX", "T1", "", "DEU", "D\u{e9}"] {
        assert_eq!(find(&places, BERLIN, Some(no_country)), place("DE", "DE-BE", "Berlin"), "{no_country}");
    }
    let none = Places::open(Path::new(""), &Registry::new()).await.unwrap();
    assert_eq!(find(&none, BERLIN, None), Place::default());
    assert_eq!(find(&none, BERLIN, Some("DE")), place("DE", "", ""));
}

#[tokio::test]
async fn a_changed_file_is_read_again_and_a_broken_one_is_not_used() {
    let (dir, registry) = (TempDir::new().unwrap(), Registry::new());
    write(&dir, &file("Berlin", 1));
    let places = open(&dir, &registry).await;
    let metrics = |loaded: u32, failures: u32| {
        let text = service::telemetry::metrics_text(&registry).unwrap();
        for line in [
            format!("ingest_places_built_seconds {loaded}"),
            format!("ingest_places_failures_total {failures}"),
        ] {
            assert!(text.lines().any(|other| other == line), "{line} is not in\n{text}");
        }
    };
    places.refresh().await.unwrap();
    metrics(1, 0);

    write(&dir, &file("Berlin and more", 2));
    places.refresh().await.unwrap();
    assert_eq!(find(&places, BERLIN, None).city, "Berlin and more");
    metrics(2, 0);

    // Cut in the middle, as a copy that is under way is.
    let new = file("Berlin again", 3);
    write(&dir, &new[..new.len() / 2]);
    assert!(matches!(places.refresh().await, Err(PlaceError::Form(_))));
    places.refresh().await.expect("what was complained of once is left alone until it changes");
    assert_eq!(find(&places, BERLIN, None).city, "Berlin and more");
    metrics(2, 1);

    std::fs::remove_file(dir.path().join("places.mmdb")).unwrap();
    assert!(matches!(places.refresh().await, Err(PlaceError::Read(_))));
    places.refresh().await.unwrap();
    assert_eq!(find(&places, BERLIN, None).city, "Berlin and more");
    metrics(2, 2);

    write(&dir, &new);
    places.refresh().await.unwrap();
    assert_eq!(find(&places, BERLIN, None).city, "Berlin again");
    metrics(3, 2);
}

#[tokio::test]
async fn a_file_that_cannot_be_used_at_the_start_is_named() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("places.mmdb");
    let said = |opened: Result<Places, StartError>| opened.err().unwrap().to_string();
    let missing = said(Places::open(&path, &Registry::new()).await);
    assert!(missing.contains("edge.places_file") && missing.contains("places.mmdb"), "{missing}");
    write(&dir, b"no database");
    let broken = said(Places::open(&path, &Registry::new()).await);
    assert!(broken.contains("no MaxMind database"), "{broken}");
}

/// Any byte of the file may be wrong: places are then unknown or others, and nothing else happens.
#[test]
fn a_damaged_file_does_not_panic() {
    let whole = file("Berlin", 1);
    for at in 0..whole.len() {
        for value in [0x00, 0xff, whole[at] ^ 0x20] {
            let mut damaged = whole.clone();
            damaged[at] = value;
            let Ok(reader) = Reader::from_source(damaged) else { continue };
            for address in [BERLIN, SOMEWHERE_IN_FRANCE, NOWHERE] {
                let _ = look_up(&reader, address.parse().unwrap());
            }
        }
    }
}
