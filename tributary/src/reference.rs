//! The reference of all settings, made from the defaults in code and the notes here.

use crate::error::Error;
use crate::settings::Settings;

/// What stands above the reference.
const HEAD: &str = "\
# Every setting with its default. A settings file holds those that differ; the environment wins over the file:
# TRIBUTARY_EDGE__LISTEN sets edge.listen. A key that is not here is refused.
";

/// Every setting's note, in the order of the reference.
const NOTES: &[(&str, &str)] = &[
    ("data_dir", "Where this process keeps its data."),
    ("shutdown_deadline_ms", "How long a process that was asked to stop may finish what it has begun."),
    ("log.format", "The log on standard error: text or json."),
    ("log.filter", "What is logged: a level, or target=level pairs with commas."),
    ("first_start.events_partitions", "Partitions of events and facts, fixed by the first start."),
    ("first_start.workspace_name", "The first workspace's name."),
    ("first_start.currency", "Its currency, ISO 4217."),
    ("first_start.timezone", "Its IANA time zone."),
    (
        "secrets.key",
        "Seals the secrets of signed sources: 64 hexadecimal digits, the same for every role. `up` makes one if it is empty.",
    ),
    ("engine.library", "`up`: the warehouse engine's library, libchdb.so."),
    ("engine.memory_mib", "`up`: memory that all statements of the engine together may use."),
    (
        "engine.password",
        "`up`: the password of the engine's user, tributary, for a notebook beside it; empty takes a random one.",
    ),
    ("engine.port", "`up`: the engine's port on the loopback interface; 0 takes a free one."),
    ("kafka.brokers", "Roles: host:port of brokers, with commas."),
    (
        "kafka.options",
        "Roles: settings of librdkafka, such as socket.timeout.ms; in the file alone, their names have dots.",
    ),
    (
        "kafka.topic_prefix",
        "Roles: what the names of our topics begin with, for several installations on one cluster.",
    ),
    ("kafka.replication_factor", "`migrate`: replicas of the topics that it creates."),
    ("warehouse.url", "Roles: ClickHouse's HTTP interface."),
    ("warehouse.user", "Roles: its user."),
    ("warehouse.password", "Roles: the user's password."),
    ("warehouse.database", "Roles: the database of our tables; `migrate` creates it."),
    (
        "object_store.url",
        "Where snapshots and the archive are kept: a directory, file:// or s3://bucket/prefix. Empty: `up` keeps snapshots in data_dir, a role none.",
    ),
    (
        "object_store.options",
        "Settings of a bucket, by the names of the crate object_store: aws_region, aws_endpoint, aws_access_key_id, aws_secret_access_key…",
    ),
    ("edge.listen", "Where the edge listens; port 0 takes a free one."),
    (
        "edge.public_url",
        "The edge's address as browsers see it; with https: cookies are Secure, as by TLS. Empty: where it listens.",
    ),
    ("edge.trusted_proxies", "Networks whose X-Forwarded-For, X-Forwarded-Proto and Forwarded are believed."),
    (
        "edge.country_header",
        "The header in which a trusted proxy states the client's country; empty for none.",
    ),
    ("edge.places_file", "A file of places by address, in MaxMind's format; empty: places are not known."),
    ("edge.append_deadline_ms", "How long an event may wait for the log; then it goes into the spool."),
    (
        "edge.spool_deadline_ms",
        "How much longer it may wait for the spool; then it is refused, or redirected unrecorded.",
    ),
    (
        "edge.spool_max_bytes",
        "What all events in the spool may take on disk; up to 16 MiB for each partition come on top.",
    ),
    ("edge.spool_min_free_bytes", "What the spool leaves free on its disk."),
    (
        "edge.queue_events",
        "Events of one partition that may wait for durability; beyond them requests are refused.",
    ),
    ("edge.queue_bytes", "Bytes of events, of all partitions, that the log may hold unanswered."),
    ("edge.body_timeout_ms", "The time that the body of a single event may take to arrive."),
    ("edge.max_body_bytes", "The largest body of a request."),
    ("edge.max_uri_bytes", "The longest path and query of a request."),
    (
        "edge.limits.browser_per_minute",
        "Clicks, leads and sales from pages, for each client address; 0 is without limit.",
    ),
    (
        "edge.limits.s2s_per_minute",
        "Conversions, refunds and postbacks, for each key or source; 0 is without limit.",
    ),
    ("edge.limits.events_per_minute", "Batches, for each key; 0 is without limit."),
    (
        "edge.limits.hits_per_minute",
        "Redirects and pixels, for each client address: those beyond are labelled rate; 0 is without limit.",
    ),
    ("edge_http.threads", "Threads of its own, each with a listener: a number, cores, or shared for none."),
    ("edge_http.max_connections", "Open connections at a time; more are answered 503 and closed."),
    ("edge_http.max_requests", "Requests in work at a time; more are answered 503."),
    ("edge_http.header_read_timeout_ms", "The time a client has for a request's head."),
    ("edge_http.idle_timeout_ms", "The time after which a connection without a request is closed."),
    ("edge_http.drain_deadline_ms", "The time that open requests have to end after a stop began."),
    ("edge_http.max_header_bytes", "The largest head of a request; at least 8192."),
    ("edge_http.max_headers", "The most headers that a request may have."),
    (
        "edge_http.tls_certificate",
        "The certificate chain, a PEM file that is read anew when it changes. Empty: plain HTTP.",
    ),
    ("edge_http.tls_key", "The certificate's key, a PEM file."),
    ("api.listen", "Where the query API listens; port 0 takes a free one."),
    ("api.edge_url", "The edge's address as clients know it, for answers that point there."),
    ("api.max_waiting", "Receipts and transitions that may wait for their outcome at a time."),
    ("api.request_timeout_ms", "The time that a whole answer may take."),
    ("api.query_timeout_ms", "The time that one query of the warehouse may take."),
    ("api.body_timeout_ms", "The time that a body may take to arrive."),
    ("api.max_body_bytes", "The largest body of a request."),
    ("api.max_uri_bytes", "The longest path and query of a request."),
    ("api.http.threads", "Threads of its own, each with a listener: a number, cores, or shared for none."),
    ("api.http.max_connections", "Open connections at a time; more are answered 503 and closed."),
    ("api.http.max_requests", "Requests in work at a time; more are answered 503."),
    ("api.http.header_read_timeout_ms", "The time a client has for a request's head."),
    ("api.http.idle_timeout_ms", "The time after which a connection without a request is closed."),
    ("api.http.drain_deadline_ms", "The time that open requests have to end after a stop began."),
    ("api.http.max_header_bytes", "The largest head of a request; at least 8192."),
    ("api.http.max_headers", "The most headers that a request may have."),
    (
        "api.http.tls_certificate",
        "The certificate chain, a PEM file that is read anew when it changes. Empty: plain HTTP.",
    ),
    ("api.http.tls_key", "The certificate's key, a PEM file."),
    ("processor.partitions", "Partitions that this process decides; empty means all."),
    (
        "processor.instance",
        "The process's name among those that share all partitions out in a Kafka group; empty for none.",
    ),
    (
        "processor.session_ms",
        "How long a process of the group may be silent before others take its partitions over.",
    ),
    ("processor.max_batch_events", "Events decided into one record of facts at most."),
    ("processor.batch_linger_ms", "How long events are collected for one record."),
    ("processor.append_deadline_ms", "How long a record of facts may stay unconfirmed."),
    ("processor.cut_period_ms", "Age at which facts ask for a cut: the sink's batch period."),
    (
        "processor.snapshot_period_s",
        "Seconds between two snapshots of a partition's state, if anything was decided meanwhile.",
    ),
    ("processor.snapshots_kept", "Snapshots of a partition that are kept, the newest."),
    (
        "processor.archive_after_hours",
        "Age at which events and facts go from the log into the object store, once snapshots and warehouse are beyond them; 0 is never.",
    ),
    ("sink.partitions", "Partitions that this process loads; empty means all."),
    (
        "sink.instance",
        "The process's name among those that share all partitions out in a Kafka group; empty for none.",
    ),
    (
        "sink.session_ms",
        "How long a process of the group may be silent before others take its partitions over.",
    ),
    (
        "sink.insert_timeout_ms",
        "How long one INSERT may take; below the 60 s after which the table refuses it.",
    ),
    ("sink.audit_period_s", "Seconds between two counts of the rows of all finished cuts; 0 is never."),
    ("ops.listen", "Where processor and sink serve health and metrics, within the limits of api.http."),
];

/// All settings with their defaults and notes, as TOML.
pub fn render() -> Result<String, Error> {
    Ok(format!("{HEAD}\n{}", service::config::render_reference::<Settings>(NOTES)?))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn config_dir() -> std::path::PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("deploy/config")
    }

    #[test]
    fn the_reference_names_every_setting_and_the_file_is_fresh() {
        let rendered = render().unwrap();
        let file = config_dir().join("reference.toml");
        let found = std::fs::read_to_string(&file).unwrap_or_default();
        assert_eq!(found, rendered, "write it anew: tributary config > deploy/config/reference.toml");
    }

    #[test]
    fn the_settings_of_every_role_are_read() {
        let mut read = 0;
        for entry in std::fs::read_dir(config_dir()).unwrap() {
            let path = entry.unwrap().path();
            let settings: Result<Settings, _> = service::config::load_from(Some(&path), []);
            assert!(settings.is_ok(), "{}: {}", path.display(), settings.unwrap_err());
            read += 1;
        }
        assert_eq!(read, 6, "five roles and the reference");
    }

    #[test]
    fn secrets_are_not_printed() {
        let environment = [("TRIBUTARY_WAREHOUSE__PASSWORD".to_owned(), "hunter2".to_owned())];
        let settings: Settings = service::config::load_from(None, environment).unwrap();
        assert_eq!(settings.warehouse.password.expose(), "hunter2");
        assert!(!format!("{settings:?}").contains("hunter2"));
    }
}
