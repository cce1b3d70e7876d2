//! Rows that are missing or too many are found by what the facts say.

use catalog::Projection;
use processor::verify::{Beginning, Question, Verifier, count_rows, last_cut};
use schemas::table::Table;

use super::exact::batches;
use super::warehouse::Warehouse;

#[tokio::test(flavor = "multi_thread")]
async fn missing_and_doubled_rows_are_counted_against_the_facts() {
    let warehouse = Warehouse::start().await;
    let batches = batches(&mut warehouse.site.edge(1));
    warehouse.decide(&batches[..4]).await;
    let database = warehouse.database("one").await;
    let (sink, _) = ::warehouse::connect(&database.endpoint);
    assert_eq!(last_cut(&sink, 0).await.unwrap(), None);
    warehouse.load(&database, 4).await.unwrap();
    // The facts are further than the rows.
    warehouse.decide(&batches[4..]).await;
    let cut = last_cut(&sink, 0).await.unwrap();
    assert_eq!(cut, Some(4));
    let verifier = Verifier {
        log: warehouse.site.log.clone(),
        objects: None,
        partition: 0,
        projection: Projection::FIRST,
    };
    let verified = verifier.verify(Beginning::default(), Question { until: None, cut }).await.unwrap();
    assert_eq!(verified.difference, None);
    let rows = verified.rows.unwrap();
    let counted = async |sink: &::warehouse::Sink| {
        let tables = count_rows(sink, 0, &rows).await.unwrap();
        assert!(tables.iter().map(|it| it.expected).eq(*rows.all()), "{tables:?}");
        tables.iter().map(|it| (it.missing, it.extra)).collect::<Vec<_>>()
    };
    assert_eq!(counted(&sink).await, [(0, 0); Table::ALL.len()]);

    let other = warehouse.database("other").await;
    for table in Table::ALL {
        let some = if table == Table::Outcomes { "row_seq NOT IN (3, 7)" } else { "1" };
        other.take(&database, table.name(), some).await;
    }
    other.take(&database, Table::Clicks.name(), "row_seq < 4").await;
    let (sink, _) = ::warehouse::connect(&other.endpoint);
    assert_eq!(counted(&sink).await, [(0, 3), (0, 0), (0, 0), (0, 0), (2, 0)]);
    warehouse.stop().await;
}
