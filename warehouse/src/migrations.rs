//! The tables' history: numbered, checksummed, applied in order, never changed once released.

use std::time::Duration;

use clickhouse::{Client, Row};
use schemas::generation::Generation;
use schemas::hex;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::connection::{client, plain_name, within};
use crate::{Endpoint, Error};

/// One statement may take this long: on a large table, adding a projection only touches metadata.
const STATEMENT_TIMEOUT: Duration = Duration::from_secs(120);

/// The history of this database. Two processes that migrate at once may both write a line for one migration;
/// the statements are idempotent and the lines equal, so only unequal ones are an error.
const HISTORY: &str = "CREATE TABLE IF NOT EXISTS schema_migrations \
    (number UInt32, name String, sha256 String, applied_at DateTime64(6, 'UTC') DEFAULT now64(6)) \
    ENGINE = MergeTree ORDER BY number";

/// One step of the tables' history.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Migration<'a> {
    /// Its place in the order.
    pub number: u32,
    /// What it is called.
    pub name: &'a str,
    /// Its statements, each ended by a `;` at the end of a line, each safe to run twice.
    pub sql: &'a str,
}

impl<'a> From<&(u32, &'a str, &'a str)> for Migration<'a> {
    fn from(&(number, name, sql): &(u32, &'a str, &'a str)) -> Self {
        Self { number, name, sql }
    }
}

/// Why a database cannot be brought to this program's tables.
#[derive(Debug, thiserror::Error)]
pub enum MigrateError {
    /// The list itself is out of order.
    #[error("migration {0} does not come after the one before it")]
    Order(u32),
    /// A released migration was edited.
    #[error("migration {number} ({name}) was changed after it had been applied: write a new one instead")]
    Changed {
        /// Its number.
        number: u32,
        /// Its name in this program.
        name: String,
    },
    /// The database was migrated by a later version of this program.
    #[error("the database is newer than this program: it has migration {found}, this program knows {known}")]
    Newer {
        /// The highest number in the database.
        found: u32,
        /// The highest number in this program.
        known: u32,
    },
    /// A statement failed.
    #[error("migration {number} ({name}): {source}")]
    Statement {
        /// The migration's number.
        number: u32,
        /// The migration's name.
        name: String,
        /// What ClickHouse said.
        source: Error,
    },
    /// The history could not be read or written.
    #[error(transparent)]
    Warehouse(#[from] Error),
}

#[derive(Row, Serialize, Deserialize)]
struct Applied {
    number: u32,
    sha256: String,
}

/// Makes the database if it is not there and applies what it lacks. Answers the numbers that were applied.
pub async fn migrate(endpoint: &Endpoint, migrations: &[Migration<'_>]) -> Result<Vec<u32>, MigrateError> {
    let known = migrations.last().map_or(0, |last| last.number);
    if let Some(pair) = migrations.windows(2).find(|pair| pair[0].number >= pair[1].number) {
        return Err(MigrateError::Order(pair[1].number));
    }
    make_database(endpoint).await?;
    let client = client(endpoint);
    execute(&client, HISTORY).await?;
    let history = "SELECT DISTINCT number, sha256 FROM schema_migrations ORDER BY number";
    let applied = within(STATEMENT_TIMEOUT, client.query_raw(history).fetch_all::<Applied>()).await?;
    if let Some(newest) = applied.last().filter(|newest| newest.number > known) {
        return Err(MigrateError::Newer { found: newest.number, known });
    }
    for migration in migrations {
        let checksum = checksum(migration.sql);
        let differs = |line: &&Applied| line.number == migration.number && line.sha256 != checksum;
        if applied.iter().find(differs).is_some() {
            return Err(MigrateError::Changed { number: migration.number, name: migration.name.to_owned() });
        }
    }
    let mut now = Vec::new();
    for migration in migrations {
        if !applied.iter().any(|line| line.number == migration.number) {
            apply(&client, migration).await?;
            now.push(migration.number);
        }
    }
    Ok(now)
}

/// Takes away the rows of a generation: its whole database, or, where the database is the first one's, what is in these tables.
/// `first` is the endpoint of the first.
pub async fn take_away(first: &Endpoint, generation: Generation, tables: &[&str]) -> Result<(), Error> {
    let of_generation = first.of_generation(generation);
    let database = plain_name(&of_generation.database)?;
    let anywhere = client(&Endpoint { database: "default".to_owned(), ..first.clone() });
    // However large they are: whoever asks for this has thought about it.
    let anywhere = anywhere.with_setting("max_table_size_to_drop", "0");
    if generation != Generation::FIRST {
        return execute(&anywhere, &format!("DROP DATABASE IF EXISTS {database} SYNC")).await;
    }
    for table in tables {
        let table = plain_name(table)?;
        execute(&anywhere, &format!("TRUNCATE TABLE IF EXISTS {database}.{table}")).await?;
    }
    Ok(())
}

async fn make_database(endpoint: &Endpoint) -> Result<(), Error> {
    let database = plain_name(&endpoint.database)?;
    let anywhere = client(&Endpoint { database: "default".to_owned(), ..endpoint.clone() });
    execute(&anywhere, &format!("CREATE DATABASE IF NOT EXISTS {database}")).await
}

async fn apply(client: &Client, migration: &Migration<'_>) -> Result<(), MigrateError> {
    for statement in statements(migration.sql) {
        execute(client, &statement).await.map_err(|source| MigrateError::Statement {
            number: migration.number,
            name: migration.name.to_owned(),
            source,
        })?;
    }
    let line = client
        .query_raw("INSERT INTO schema_migrations (number, name, sha256) SELECT {number:UInt32}, {name:String}, {sha256:String}")
        .param("number", migration.number)
        .param("name", migration.name)
        .param("sha256", checksum(migration.sql));
    within(STATEMENT_TIMEOUT, line.execute()).await?;
    Ok(())
}

async fn execute(client: &Client, statement: &str) -> Result<(), Error> {
    within(STATEMENT_TIMEOUT, client.query_raw(statement).execute()).await
}

fn checksum(sql: &str) -> String {
    hex::encode(&Sha256::digest(sql.as_bytes()))
}

/// The statements of a migration, without lines that are only comment.
fn statements(sql: &str) -> Vec<String> {
    let mut statements = Vec::new();
    let mut statement = String::new();
    for line in sql.lines().filter(|line| !line.trim_start().starts_with("--")) {
        let ended = line.trim_end().strip_suffix(';');
        statement.push_str(ended.unwrap_or(line));
        statement.push('\n');
        if ended.is_some() {
            statements.push(std::mem::take(&mut statement));
        }
    }
    statements.push(statement);
    statements.retain(|statement| !statement.trim().is_empty());
    statements
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_migration_is_cut_at_line_ends() {
        let sql = "-- a; comment;\nCREATE TABLE a\n(\n  x String DEFAULT 'a;b' -- why\n);\n\n-- b\nCREATE TABLE b (y Int8);  \n";
        let cut = statements(sql);
        assert_eq!(cut.len(), 2, "{cut:?}");
        assert!(cut[0].starts_with("CREATE TABLE a") && cut[0].contains("'a;b'"));
        assert_eq!(cut[1].trim(), "CREATE TABLE b (y Int8)");
        assert!(statements("-- nothing\n\n").is_empty());
    }
}
