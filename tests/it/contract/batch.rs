//! `POST /api/v1/events/batch`: JSON array and NDJSON, plain and compressed, a bad line beside good ones.

use serde_json::{Value, json};

use super::world::{Answer, Ask, World};

const PATH: &str = "/api/v1/events/batch";
const LINES: &str = "application/x-ndjson";

pub async fn check(world: &mut World) {
    let (click, _) = world.click("/c/plain?sub1=b-click").await;
    let key = world.stack.key.clone();
    let events = |prefix: &str| {
        [
            json!({"type": "click", "link": "plain", "sub1": format!("{prefix}-hit")}),
            json!({"type": "impression", "link": "plain", "sub1": format!("{prefix}-seen")}),
            json!({"type": "lead", "click_id": click, "transaction_id": format!("{prefix}-L")}),
            json!({"type": "conversion", "click_id": click, "transaction_id": format!("{prefix}-C"), "amount": "1.00"}),
            json!({"type": "conversion", "click_id": click, "transaction_id": format!("{prefix}-X"), "amount": "1.2345", "currency": "USD"}),
            json!({"type": "refund", "refund_id": format!("{prefix}-R"), "transaction_id": format!("{prefix}-C"), "event": "sale", "reason": "x"}),
        ]
    };
    let lines = |events: &[Value]| events.iter().map(|event| format!("{event}\n")).collect::<String>();

    let array = Ask::json(PATH, &json!(events("BA"))).key(&key);
    let answer = world.ask(array).await;
    outcomes(world, "array", &answer, &answer.json()["items"]);
    let sums = answer.json();
    world.check("array", sums["accepted"] == 5 && sums["rejected"] == 1, &sums);

    let answer = world.ask(Ask::post(PATH, LINES, lines(&events("BN"))).key(&key)).await;
    outcomes(world, "lines", &answer, &of_lines(&answer));

    // A line that is no JSON does not spoil its neighbours.
    let broken = format!("{}nonsense\n{}", lines(&events("BB")[..1]), lines(&events("BB")[2..3]));
    let answer = world.ask(Ask::post(PATH, LINES, broken).key(&key)).await;
    let found = of_lines(&answer);
    let told: Vec<_> = found.as_array().into_iter().flatten().map(|item| item["status"].clone()).collect();
    world.check("a broken line", told == ["accepted", "rejected", "accepted"], &found);

    let plain = lines(&events("BG"));
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::Write::write_all(&mut gzip, plain.as_bytes()).unwrap();
    let ask = Ask::post(PATH, LINES, gzip.finish().unwrap()).key(&key).header("content-encoding", "gzip");
    let answer = world.ask(ask).await;
    outcomes(world, "gzip", &answer, &of_lines(&answer));
    let zstd = zstd::encode_all(lines(&events("BZ")).as_bytes(), 1).unwrap();
    let answer = world.ask(Ask::post(PATH, LINES, zstd).key(&key).header("content-encoding", "zstd")).await;
    outcomes(world, "zstd", &answer, &of_lines(&answer));

    let prefixes = ["BA", "BN", "BG", "BZ"];
    let wanted: Vec<String> = prefixes.iter().map(|prefix| format!("{prefix}-C")).collect();
    let wanted: Vec<&str> = wanted.iter().map(String::as_str).collect();
    let listed = world.listed("/conversions", "transaction_id", &wanted).await;
    for name in wanted {
        let status = listed.get(name).map(|item| item["status"].clone()).unwrap_or_default();
        world.check(name, status == "reversed" || status == "approved", status);
    }
    world.check("a rejected line", !listed.contains_key("BA-X"), "it is a conversion");
    let wanted = ["BA-hit", "BN-hit", "BG-hit", "BZ-hit", "BB-hit"];
    let hits = world.listed("/clicks", "sub1", &wanted).await;
    for name in wanted {
        world.check(name, hits.contains_key(name), "its click is not in the list");
    }
}

/// The items of an answer in lines.
fn of_lines(answer: &Answer) -> Value {
    let text = String::from_utf8_lossy(&answer.body);
    text.lines().map(|line| serde_json::from_str(line).unwrap_or(Value::Null)).collect()
}

/// The fifth of six is wrong, and says so.
fn outcomes(world: &mut World, case: &str, answer: &Answer, items: &Value) {
    world.check_status(case, answer, 202);
    let items = items.as_array().cloned().unwrap_or_default();
    world.check(case, items.len() == 6, format!("{items:?}"));
    for (index, item) in items.iter().enumerate() {
        let is_right = if index == 4 {
            item["status"] == "rejected" && item["error"] == "validation_failed" && item["field"] == "amount"
        } else {
            item["status"] == "accepted" && item["receipt"].is_string()
        };
        world.check(case, is_right && item["index"] == index, item);
    }
}
