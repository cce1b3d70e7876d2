//! Every row is there, once, with what it says.

use schemas::event::{Event, Status};
use schemas::table::Table;

use super::warehouse::Warehouse;
use crate::scene::{DAY, HOUR, T0, Traffic, click_id, id, usd};

/// Batches of clicks, an impression, conversions, a status update, a rejection and a wait.
pub(super) fn batches(edge: &mut Traffic) -> Vec<Vec<Event>> {
    let click = edge.click(0, |it| it.visitor = Some(id(9)));
    let earlier = edge.click(-HOUR, |it| it.visitor = Some(id(9)));
    let absent = edge.click(0, |_| {});
    let mut sale = |status| {
        edge.conversion(HOUR, |it| {
            (it.click, it.transaction_id, it.status) = (Some(click_id(&click)), "t1".into(), status);
            (it.customer_id, it.metadata) = ("c1".into(), "{\"a\":1}".into());
        })
    };
    let (recorded, again, reversed) = (sale(None), sale(None), sale(Some(Status::Reversed)));
    let waits = edge.conversion(HOUR, |it| it.click = Some(click_id(&absent)));
    let foreign = edge.conversion(HOUR, |it| it.click = Some(id(1)));
    let mut plain: Vec<Event> = (0..20).map(|n| edge.click(n, |_| {})).collect();
    plain.push(edge.impression(0, |it| it.cost = Some(usd(1))));
    let held = vec![edge.delayed(0, 7), edge.delayed(0, 5), again, waits, foreign];
    vec![vec![click, earlier, recorded], plain, held, vec![reversed], vec![absent]]
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_are_dense_in_every_table_and_each_cut_says_where_it_ends() {
    let warehouse = Warehouse::start().await;
    let batches = batches(&mut warehouse.site.edge(1));
    let rows = warehouse.decide(&batches).await;
    assert_eq!(rows, [23, 1, 3, 2 + 1, 30]);
    let database = warehouse.database("one").await;
    warehouse.load(&database, 5).await.unwrap();
    assert_eq!(database.density().await, rows.map(|count| [count; 3]));
    let cuts = database
        .rows::<(u64, u64, u64, u64, u64, u64)>(
            "SELECT cut, clicks, impressions, conversion_revisions, credits, outcomes FROM cuts FINAL ORDER BY cut",
        )
        .await;
    assert_eq!(
        cuts,
        [
            (1, 2, 0, 1, 2, 3),
            (2, 22, 1, 1, 2, 24),
            (3, 22, 1, 1, 2, 27),
            (4, 22, 1, 2, 2, 28),
            (5, 23, 1, 3, 3, 30),
        ]
    );
    warehouse.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_columns_say_is_what_the_facts_say() {
    let warehouse = Warehouse::start().await;
    let batches = batches(&mut warehouse.site.edge(1));
    warehouse.decide(&batches).await;
    let database = warehouse.database("one").await;
    warehouse.load(&database, 5).await.unwrap();
    let sums =
        "SELECT sum(conversions_delta), sum(revenue_delta), sum(payout_delta) FROM conversion_revisions";
    // The first sale was reversed; the one that waited counts.
    assert_eq!(database.rows::<(i64, i64, i64)>(sums).await, [(1, 80_000_000, 8_000_000)]);
    let current = "SELECT version, toString(status), customer_id, metadata, payout, subs[1] FROM conversions FINAL \
                   ORDER BY transaction_id";
    assert_eq!(
        database.rows::<(u32, String, String, String, i64, String)>(current).await,
        [
            (1, "approved".into(), String::new(), String::new(), 8_000_000, "s1".into()),
            (2, "reversed".into(), "c1".into(), "{\"a\":1}".into(), 8_000_000, "s1".into()),
        ]
    );
    let credits =
        "SELECT toString(lost), last_touch, toUnixTimestamp64Micro(touched_at) FROM credits ORDER BY row_seq";
    assert_eq!(
        database.rows::<(String, u16, i64)>(credits).await,
        [("earlier".into(), 0, T0 - HOUR), (String::new(), 10_000, T0), (String::new(), 10_000, T0)]
    );
    let outcomes = "SELECT toString(status), toString(reason), count() FROM outcomes WHERE subject = 'conversion' \
                    GROUP BY ALL ORDER BY ALL";
    let expected = [
        ("duplicate", "", 1),
        ("parked", "unknown_click", 1),
        ("recorded", "", 2),
        ("rejected", "unknown_click", 1),
        ("updated", "", 1),
    ];
    assert_eq!(
        database.rows::<(String, String, u64)>(outcomes).await,
        expected.map(|(status, reason, count)| (status.to_owned(), reason.to_owned(), count))
    );
    let delayed = "SELECT cut, events, toUnixTimestamp64Micro(since) FROM delayed FINAL";
    assert_eq!(database.rows::<(u64, u64, i64)>(delayed).await, [(3, 5, T0)]);
    let shown = "SELECT params['q'], cost, toString(cost_currency), counted FROM impressions";
    assert_eq!(
        database.rows::<(String, i64, String, bool)>(shown).await,
        [("x".into(), 1_000_000, "USD".into(), true)]
    );
    let click = "SELECT params['q'], user_agent, counted, toUnixTimestamp64Micro(occurred_at), hex(id) FROM clicks \
                 WHERE row_seq = 1";
    let id = batches[0][0].clone();
    let hex: String = click_id(&id).bytes().iter().map(|byte| format!("{byte:02X}")).collect();
    assert_eq!(
        database.rows::<(String, String, bool, i64, String)>(click).await,
        [("x".into(), "Mozilla/5.0".into(), true, T0, hex)]
    );
    warehouse.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cut_over_months_of_core_time_and_of_conversions_is_loaded_whole() {
    let warehouse = Warehouse::start().await;
    let mut edge = warehouse.site.edge(1);
    // Conversions of three months in one cut, as they come at the start of each month.
    let mut batch: Vec<Event> = (0..3).map(|n| edge.conversion(-n * 31 * DAY, |_| {})).collect();
    batch.push(edge.click(0, |_| {}));
    let store = warehouse.site.store("state");
    let owner = warehouse.site.owner(&store);
    for event in &batch {
        warehouse.site.send(event).await;
    }
    warehouse.site.decided(&store).await;
    owner.stop().await.unwrap();
    drop(store);
    // The month changes before the cut.
    warehouse.site.clock.set(T0 + 30 * DAY);
    let rows = warehouse.decide(&[vec![edge.click(30 * DAY, |_| {})]]).await;
    let database = warehouse.database("one").await;
    warehouse.load(&database, 1).await.unwrap();
    assert_eq!(database.density().await, rows.map(|count| [count; 3]));
    let months = "SELECT toYYYYMM(core_time), chunk, count() FROM outcomes GROUP BY ALL ORDER BY ALL";
    assert_eq!(database.rows::<(u32, u16, u64)>(months).await, [(202_611, 0, 4), (202_612, 1, 1)]);
    let months = "SELECT toYYYYMM(occurred_at), count() FROM conversions GROUP BY ALL ORDER BY ALL";
    assert_eq!(database.rows::<(u32, u64)>(months).await, [(202_609, 1), (202_610, 1), (202_611, 1)]);
    warehouse.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_sinks_at_once_load_every_row_once() {
    let warehouse = Warehouse::start().await;
    let mut edge = warehouse.site.edge(1);
    let batches: Vec<Vec<Event>> = (0..8).map(|_| (0..50).map(|n| edge.click(n, |_| {})).collect()).collect();
    let rows = warehouse.decide(&batches).await;
    let database = warehouse.database("one").await;
    let sinks = [warehouse.sink(&database), warehouse.sink(&database), warehouse.sink(&database)];
    database.reached(8).await;
    for sink in sinks {
        sink.stop().await.unwrap();
    }
    assert_eq!(database.density().await, rows.map(|count| [count; 3]));
    assert_eq!(rows[Table::Clicks as usize], 400);
    warehouse.stop().await;
}
