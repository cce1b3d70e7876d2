//! Whatever comes in, the answer is an error of the contract that names the fault.

use axum::body::Body;
use axum::http::Request;

use crate::harness::Harness;
use crate::rows::{self, NONE};

/// Addresses, and the parameter that is wrong in each.
const WRONG: &[(&str, &str)] = &[
    ("/api/v1/reports?timezone=Mars/Olympus", "timezone"),
    ("/api/v1/reports?timezone=UTC%27%20OR%201", "timezone"),
    ("/api/v1/reports?from=yesterday", "from"),
    ("/api/v1/reports?from=2026-11-02&to=2026-11-01", "to"),
    ("/api/v1/reports?period=forever", "period"),
    ("/api/v1/reports?interval=minute", "interval"),
    ("/api/v1/reports?group_by=original_currency", "group_by"),
    ("/api/v1/reports?group_by=1%20UNION%20SELECT", "group_by"),
    ("/api/v1/reports?group_by=partner,partner", "group_by"),
    ("/api/v1/reports?group_by=day,hour", "group_by"),
    ("/api/v1/reports?group_by=sub11", "group_by"),
    ("/api/v1/reports?group_by=sub01", "group_by"),
    ("/api/v1/reports?metrics=payout_and_cost", "metrics"),
    ("/api/v1/reports?metrics=clicks,,cr", "metrics"),
    ("/api/v1/reports?sort=payouts", "sort"),
    ("/api/v1/reports?currency=EUR", "currency"),
    ("/api/v1/reports?time_field=click_at", "time_field"),
    ("/api/v1/reports?compare=previous", "compare"),
    ("/api/v1/reports?gross=yes", "gross"),
    ("/api/v1/reports?include_test=maybe", "include_test"),
    ("/api/v1/reports?take=0", "take"),
    ("/api/v1/reports?take=201", "take"),
    ("/api/v1/reports?take=-1", "take"),
    ("/api/v1/reports?cursor=AAAA", "cursor"),
    ("/api/v1/reports?partner=offer_01h455vb4pex5vsknk084sn02q", "partner"),
    ("/api/v1/reports?partner=nobody", "partner"),
    ("/api/v1/reports?partner=ext:crm:1", "partner"),
    ("/api/v1/reports?partner[like]=a", "partner[like]"),
    ("/api/v1/reports?partner[not=a", "partner[not"),
    ("/api/v1/reports?partner[is_null]=1", "partner[is_null]"),
    ("/api/v1/reports?status=done", "status"),
    ("/api/v1/reports?original_currency=EUR", "original_currency"),
    ("/api/v1/impressions?rule=rule_01h455vb4pex5vsknk084sn02q", "rule"),
    ("/api/v1/clicks?country[gt]=DE", "country[gt]"),
    ("/api/v1/reports?sub1=a&sub1=b", "sub1"),
    ("/api/v1/reports?sub1=%ff", "sub1"),
    ("/api/v1/reports?nonsense=1", "nonsense"),
    ("/api/v1/conversions?sort=amount", "sort"),
    ("/api/v1/conversions?occurred_at[gte]=today", "occurred_at[gte]"),
    ("/api/v1/conversions?click_id=click_x", "click_id"),
    ("/api/v1/conversions?offset=5", "offset"),
    ("/api/v1/clicks?status=approved", "status"),
    ("/api/v1/receipts/evt_01h455vb4pex5vsknk084sn02q?wait=11", "wait"),
];

#[tokio::test]
async fn every_wrong_parameter_is_named() {
    let harness = Harness::start().await;
    let long = format!("sub1={}", "x".repeat(5_000));
    let overlong = (format!("/api/v1/reports?{long}"), "sub1");
    let wrong = WRONG.iter().map(|(address, field)| ((*address).to_owned(), *field));
    for (address, field) in wrong.chain([overlong]) {
        let refused = harness.get(&address).await.refused();
        assert_eq!(refused, (400, "validation_failed".to_owned(), Some(field.to_owned())), "{address}");
    }
    harness.stop().await;
}

/// Texts that mean something to SQL, to URLs or to nobody.
const ODD: [&str; 15] = [
    "' OR 1=1 --",
    "'); DROP TABLE clicks; --",
    "\\' OR \\'1\\'=\\'1",
    "\\",
    "\\\\N",
    "\\N",
    "NULL",
    "{v0:String}",
    "tab\there",
    "line\nend",
    "\u{0}nul",
    "%_%",
    "a,b",
    "日本語 🎉",
    "\"quoted\" `ticks`",
];

#[tokio::test]
async fn no_text_in_a_filter_becomes_sql() {
    let mut harness = Harness::start().await;
    let number = harness.first.number;
    let at = crate::harness::NOW;
    let mut rows = Vec::new();
    for text in ODD {
        let id = *harness.id::<schemas::id::ClickKind>(at, number).bytes();
        rows.push(rows::Click {
            workspace: number,
            at,
            id,
            receipt: id,
            partner: NONE,
            sub1: text.to_owned(),
            counted: true,
            test: false,
            cut: 1,
        });
    }
    rows::clicks(&harness.sink, &rows).await;
    rows::finish_cut(&harness.sink, 1, at).await;
    for text in ODD {
        let encoded = percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC);
        for (query, expected) in
            [(format!("sub1={encoded}"), 1), (format!("sub1[not]={encoded}"), ODD.len() - 1)]
        {
            let report =
                harness.get(&format!("/api/v1/reports?period=today&metrics=clicks&{query}")).await.ok();
            assert_eq!(report["totals"]["clicks"], expected, "{text:?}");
            let clicks = harness.get(&format!("/api/v1/clicks?{query}")).await.ok();
            assert_eq!(clicks["items"].as_array().unwrap().len(), expected, "{text:?}");
        }
        for field in ["creative", "source_id", "sub10", "goal"] {
            harness.get(&format!("/api/v1/reports?{field}={encoded}")).await.ok();
            harness.get(&format!("/api/v1/reports?{field}[contains]={encoded}")).await.ok();
        }
        for field in ["transaction_id", "customer_id", "goal", "sub1"] {
            let none = harness.get(&format!("/api/v1/conversions?{field}={encoded}")).await.ok();
            assert_eq!(none["items"].as_array().unwrap().len(), 0, "{text:?}");
        }
        for field in ["partner", "offer", "link", "campaign", "status", "timezone", "cursor", "from", "sort"]
        {
            let (status, code, _) =
                harness.get(&format!("/api/v1/reports?{field}={encoded}")).await.refused();
            assert_eq!((status, code.as_str()), (400, "validation_failed"), "{field} {text:?}");
        }
    }
    paged_by_that_text(&mut harness).await;
    harness.stop().await;
}

/// Sorted and paged by that text, one row at a time: it travels through cursors as well.
async fn paged_by_that_text(harness: &mut Harness) {
    let mut seen = Vec::new();
    let mut cursor = String::new();
    loop {
        let address =
            format!("/api/v1/reports?period=today&group_by=sub1&metrics=clicks&sort=sub1&take=1{cursor}");
        let page = harness.get(&address).await.ok();
        seen.push(page["items"][0]["sub1"].as_str().unwrap().to_owned());
        let Some(next) = page["nextCursor"].as_str() else { break };
        cursor = format!("&cursor={next}");
    }
    let mut expected: Vec<_> = ODD.iter().map(|text| (*text).to_owned()).collect();
    expected.sort();
    assert_eq!(seen, expected);
}

#[tokio::test]
async fn keys_are_asked_for_and_never_taken_from_the_address() {
    let mut harness = Harness::start().await;
    let number = harness.first.number;
    let reader = harness.add_key(number, &[catalog::Scope::Read], catalog::KeyKind::Secret).await;
    let sender = harness.add_key(number, &[catalog::Scope::Ingest], catalog::KeyKind::Secret).await;
    let public = harness.add_key(number, &[catalog::Scope::Ingest], catalog::KeyKind::Publishable).await;
    let status = |answer: crate::harness::Answer| answer.refused().0;
    let bare = |name: &'static str, value: String| {
        Request::get("/api/v1/clicks").header(name, value).body(Body::empty()).unwrap()
    };
    harness.get_with(&reader, "/api/v1/clicks").await.ok();
    harness.send(bare("x-api-key", reader.clone())).await.ok();
    assert_eq!(status(harness.get_with(&sender, "/api/v1/clicks").await), 403);
    for address in ["/api/v1/clicks", "/api/v1/receipts/evt_01h455vb4pex5vsknk084sn02q"] {
        assert_eq!(status(harness.get_with(&public, address).await), 403);
    }
    assert_eq!(status(harness.get_with("tb_live_wrong", "/api/v1/clicks").await), 401);
    assert_eq!(status(harness.get_with(&"x".repeat(10_000), "/api/v1/clicks").await), 401);
    assert_eq!(status(harness.send(bare("authorization", format!("Basic {reader}"))).await), 401);
    assert_eq!(status(harness.send(bare("accept", "*/*".to_owned())).await), 401);
    assert_eq!(status(harness.get(&format!("/api/v1/clicks?key={reader}")).await), 401);
    assert_eq!(status(harness.get(&format!("/api/v1/clicks?sub1=tb%5Flive_{reader}")).await), 401);
    let both = Request::get("/api/v1/clicks")
        .header("x-api-key", "other")
        .header("authorization", format!("Bearer {reader}"));
    assert_eq!(status(harness.send(both.body(Body::empty()).unwrap()).await), 401);
    harness.stop().await;
}
