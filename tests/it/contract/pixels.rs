//! `GET /p.gif`: conversions from pages that can only load an image.

use super::impressions::is_image;
use super::world::{Ask, ORIGIN, World};

pub async fn check(world: &mut World) {
    let (click, _) = world.click("/c/plain?sub1=p-click").await;
    let (pixel, key) = (world.pixel.clone(), world.publishable.clone());
    let by_pixel = Ask::get(format!("/p.gif?px={pixel}&click_id={click}&tid=P-1&amount=10.00&currency=USD"))
        .header("origin", ORIGIN);
    let answer = world.ask(by_pixel.clone()).await;
    is_image(world, "px", &answer);
    world.check_receipt("px", &answer, "recorded", None).await;
    let again = world.ask(by_pixel).await;
    world.check_receipt("px again", &again, "duplicate", None).await;

    let by_key = |more: &str| Ask::get(format!("/p.gif?key={key}&click_id={click}{more}"));
    let answer =
        world.ask(by_key("&tid=P-2&amount=5.00").header("referer", format!("{ORIGIN}/thanks"))).await;
    is_image(world, "key", &answer);
    world.check_receipt("key", &answer, "recorded", None).await;
    let nameless = world.ask(by_key("&tid=P-3&amount=5.00")).await;
    is_image(world, "no origin", &nameless);
    world.check_receipt("no origin", &nameless, "recorded", None).await;

    let listed = world.listed("/conversions", "transaction_id", &["P-1", "P-2", "P-3"]).await;
    world.check_labels("px", listed.get("P-1"), &[]);
    // Unlike the pixel these name no offer, whose currency the amount would have.
    world.check_labels("key", listed.get("P-2"), &["default_currency"]);
    world.check_labels("no origin", listed.get("P-3"), &["default_currency", "no_origin"]);
    for name in ["P-2", "P-3"] {
        // Everybody can read a publishable key in a page.
        let status = listed.get(name).map(|item| item["status"].clone()).unwrap_or_default();
        world.check("key", status == "pending", status);
    }

    for (case, ask, code) in [
        ("a strange origin", by_key("&tid=P-4").header("origin", "https://evil.example"), "forbidden"),
        ("no key", Ask::get(format!("/p.gif?click_id={click}&tid=P-5")), "unauthorized"),
        ("an unknown key", Ask::get("/p.gif?key=tb_pub_nothing&tid=P-6"), "unauthorized"),
        (
            "a bad amount",
            by_key("&tid=P-7&amount=1.234&currency=USD").header("origin", ORIGIN),
            "validation_failed",
        ),
    ] {
        let answer = world.ask(ask).await;
        is_image(world, case, &answer);
        world.check(case, answer.header("x-error") == code, format!("{:?}", answer.headers));
        world.check(case, answer.receipt().is_none(), "it has a receipt");
    }
}
