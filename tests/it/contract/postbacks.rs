//! `GET·POST /postback`: conversions from systems that can only fire a URL.

use schemas::hex;
use sha2::{Digest, Sha256};

use super::world::{Answer, Ask, World};

pub async fn check(world: &mut World) {
    let (click, _) = world.click("/c/plain?sub1=s-click").await;
    let (open, token, signed) = (world.open.clone(), world.token.clone(), world.signed.clone());
    let by_token = |more: &str| Ask::get(format!("/postback?src={}&token={}{more}", token.0, token.1));

    let answer = world.ask(by_token(&format!("&clickid={click}&txid=S-1&payout=12.50&currency=USD"))).await;
    accepted(world, "token", &answer);
    world.check_receipt("token", &answer, "recorded", None).await;
    let form = format!("their_click={click}&transaction_id=S-2&amount=1.00&currency=USD&status=banked");
    let post = Ask::post(format!("/postback?src={}", token.0), "application/x-www-form-urlencoded", form)
        .header("x-postback-token", &token.1);
    let answer = world.ask(post).await;
    accepted(world, "form", &answer);
    world.check_receipt("form", &answer, "recorded", None).await;
    let answer = world.ask(by_token(&format!("&cid={click}&tid=S-3&amount=1.00&status=banana"))).await;
    world.check_receipt("an unknown word", &answer, "recorded", None).await;
    let answer = world.ask(by_token(&format!("&cid={click}&tid=S-4&event=nothing"))).await;
    world.check_receipt("an unknown goal", &answer, "recorded", None).await;
    let answer = world.ask(Ask::get(format!("/postback?src={open}&cid={click}&tid=S-5&amount=1.00"))).await;
    world.check_receipt("open", &answer, "recorded", None).await;
    // Every request of a valid source is kept.
    let answer = world.ask(by_token(&format!("&cid={click}&tid=S-6&amount=1.2345"))).await;
    accepted(world, "a bad amount", &answer);
    world.check_receipt("a bad amount", &answer, "rejected", Some("invalid_amount")).await;

    signatures(world, &click, &signed).await;

    let names = ["S-1", "S-2", "S-3", "S-4", "S-5", "S-7"];
    let listed = world.listed("/conversions", "transaction_id", &names).await;
    world.check_labels("token", listed.get("S-1"), &[]);
    world.check_labels("an unknown word", listed.get("S-3"), &["default_currency", "unknown_status"]);
    world.check_labels("an unknown goal", listed.get("S-4"), &["unknown_goal"]);
    for (name, wanted) in [
        ("S-1", "approved"),
        ("S-2", "approved"),
        ("S-3", "pending"),
        ("S-5", "pending"),
        ("S-7", "approved"),
    ] {
        let status = listed.get(name).map(|item| item["status"].clone()).unwrap_or_default();
        world.check(name, status == wanted, format!("wanted {wanted}, found {status}"));
    }

    for (case, path) in [
        ("no source", "/postback?txid=S-8".to_owned()),
        ("an unknown source", "/postback?src=src_01m7wvtahne77800003n0qwvd8&token=x&txid=S-8".to_owned()),
        ("a wrong token", format!("/postback?src={}&token=wrong&txid=S-8", token.0)),
        ("no signature", format!("/postback?src={}&txid=S-8", signed.0)),
    ] {
        let answer = world.ask(Ask::get(path)).await;
        world.check_status(case, &answer, 401);
        let code = answer.json()["error"].clone();
        world.check(case, code == "unauthorized", code);
    }
}

/// 200, and the usual JSON.
fn accepted(world: &mut World, case: &str, answer: &Answer) {
    world.check_status(case, answer, 200);
    let body = answer.json();
    world.check(case, body["status"] == "accepted" && body["receipt"].is_string(), body);
}

/// A signed request, the same once more, and its nonce on another.
async fn signatures(world: &mut World, click: &str, source: &(String, String)) {
    let now = crate::harness::now().unix_ms() / 1_000;
    let path = |transaction: &str, nonce: &str| {
        let pairs = [
            ("amount", "7.00"),
            ("click_id", click),
            ("currency", "USD"),
            ("nonce", nonce),
            ("src", &source.0),
            ("transaction_id", transaction),
            ("ts", &now.to_string()),
        ]
        .map(|(name, value)| format!("{name}={value}"))
        .join("&");
        let body = hex::encode(&Sha256::digest(b""));
        let text = format!("v1\nGET\n/postback\n{pairs}\n{now}\n{nonce}\n{body}");
        let signature = hex::encode(&hmac(source.1.as_bytes(), text.as_bytes()));
        format!("/postback?{pairs}&sig={signature}")
    };
    let first = world.ask(Ask::get(path("S-7", "nonce-one"))).await;
    accepted(world, "signed", &first);
    world.check_receipt("signed", &first, "recorded", None).await;
    let again = world.ask(Ask::get(path("S-7", "nonce-one"))).await;
    world.check_receipt("signed again", &again, "duplicate", None).await;
    // Its signature is right, but its nonce is used up.
    let replayed = world.ask(Ask::get(path("S-9", "nonce-one"))).await;
    accepted(world, "a replayed nonce", &replayed);
    world.check_receipt("a replayed nonce", &replayed, "rejected", Some("replayed_nonce")).await;
    let forged = path("S-7", "nonce-two").replace("amount=7.00", "amount=8.00");
    let answer = world.ask(Ask::get(forged)).await;
    world.check_status("signed for another amount", &answer, 401);
}

/// HMAC-SHA256 by its definition, so that the test does not share the code that it checks.
fn hmac(key: &[u8], text: &[u8]) -> Vec<u8> {
    const BLOCK: usize = 64;
    let mut block = if key.len() > BLOCK { Sha256::digest(key).to_vec() } else { key.to_vec() };
    block.resize(BLOCK, 0);
    let pad = |byte: u8| block.iter().map(|other| other ^ byte).collect::<Vec<u8>>();
    let inner = Sha256::digest([pad(0x36).as_slice(), text].concat());
    Sha256::digest([pad(0x5c).as_slice(), &inner].concat()).to_vec()
}

#[test]
fn the_tests_own_hmac_is_one() {
    // RFC 4231, test case 2.
    let found = hex::encode(&hmac(b"Jefe", b"what do ya want for nothing?"));
    assert_eq!(found, "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
}
