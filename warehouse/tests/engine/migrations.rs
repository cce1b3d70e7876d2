//! The tables' history against the engine.

use warehouse::{Endpoint, MigrateError, Migration, migrate};

use crate::harness::Harness;

const FIRST: Migration<'static> = Migration {
    number: 1,
    name: "spine",
    sql: "-- two tables;\nCREATE TABLE IF NOT EXISTS a (x UInt8)\nENGINE = MergeTree ORDER BY x;\n\n\
          CREATE TABLE IF NOT EXISTS b (x UInt8) ENGINE = MergeTree ORDER BY x;\n",
};
const SECOND: Migration<'static> =
    Migration { number: 2, name: "more", sql: "ALTER TABLE a ADD COLUMN IF NOT EXISTS y String;\n" };

#[tokio::test(flavor = "multi_thread")]
async fn migrations_are_applied_once_and_in_order() {
    let harness = Harness::start().await;
    let endpoint = harness.endpoint();
    assert_eq!(migrate(&endpoint, &[FIRST]).await.unwrap(), [1]);
    assert_eq!(migrate(&endpoint, &[FIRST]).await.unwrap(), [0_u32; 0]);
    assert_eq!(migrate(&endpoint, &[FIRST, SECOND]).await.unwrap(), [2]);
    let history = harness.ask("SELECT number, name, length(sha256) FROM schema_migrations ORDER BY number");
    assert_eq!(history, "1\tspine\t64\n2\tmore\t64");
    harness.execute("INSERT INTO a VALUES (1, 'y')");

    let edited = Migration { sql: "SELECT 1;\n", ..FIRST };
    let refused = migrate(&endpoint, &[edited, SECOND]).await.unwrap_err();
    assert!(matches!(refused, MigrateError::Changed { number: 1, .. }), "{refused}");
    let refused = migrate(&endpoint, &[FIRST]).await.unwrap_err();
    assert!(matches!(refused, MigrateError::Newer { found: 2, known: 1 }), "{refused}");
    let refused = migrate(&endpoint, &[SECOND, FIRST]).await.unwrap_err();
    assert!(matches!(refused, MigrateError::Order(1)), "{refused}");
    assert_eq!(harness.ask("SELECT * FROM a"), "1\ty");
    harness.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_migration_is_named_and_taken_up_again() {
    let harness = Harness::start().await;
    let endpoint = harness.endpoint();
    let broken = Migration { number: 2, name: "broken", sql: "CREATE TABLE IF NOT EXISTS c (x Nope);\n" };
    let failed = migrate(&endpoint, &[FIRST, broken]).await.unwrap_err();
    assert!(failed.to_string().starts_with("migration 2 (broken): "), "{failed}");
    assert_eq!(migrate(&endpoint, &[FIRST, SECOND]).await.unwrap(), [2]);
    harness.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_processes_may_migrate_at_once_into_a_new_database() {
    let harness = Harness::start().await;
    let endpoint = Endpoint { database: "fresh".to_owned(), ..harness.endpoint() };
    let list = [FIRST, SECOND];
    let (one, other) = tokio::join!(migrate(&endpoint, &list), migrate(&endpoint, &list));
    one.unwrap();
    other.unwrap();
    assert_eq!(migrate(&endpoint, &list).await.unwrap(), [0_u32; 0]);
    assert_eq!(harness.ask("SELECT uniqExact(number) FROM fresh.schema_migrations"), "2");
    harness.stop().await;
}
