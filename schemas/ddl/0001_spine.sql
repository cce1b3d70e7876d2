-- The rows of the spine. Every append-only table proves itself: within a log partition `row_seq` is dense, a sink's
-- INSERT is one (cut, chunk) of one month of core time, and the projection `marks` answers what is there.
-- `insert_before` refuses an INSERT that arrives after its sender has given it up.

CREATE TABLE IF NOT EXISTS clicks
(
    workspace UInt32,
    occurred_at DateTime64(6, 'UTC'),
    id FixedString(16),
    receipt FixedString(16),
    received_at DateTime64(6, 'UTC'),
    offer FixedString(16),
    partner FixedString(16),
    campaign FixedString(16),
    link FixedString(16),
    visitor FixedString(16),
    creative String,
    source_id String,
    ext_click_id String,
    subs Array(String),
    params Map(String, String),
    labels Array(LowCardinality(String)),
    counted Bool,
    referrer String,
    user_agent String,
    address String,
    language LowCardinality(String),
    browser LowCardinality(String),
    os LowCardinality(String),
    device LowCardinality(String),
    country LowCardinality(String),
    region LowCardinality(String),
    city String,
    cost Int64,
    cost_currency LowCardinality(String),
    destination_url String,
    rule FixedString(16),
    rule_version UInt64,
    variant UInt32,
    test Bool,
    core_time DateTime64(6, 'UTC'),
    log_partition UInt16,
    cut UInt64,
    chunk UInt16,
    row_seq UInt64,
    insert_before DateTime('UTC'),
    PROJECTION marks
    (
        SELECT log_partition, cut, chunk, count(), min(row_seq), max(row_seq), sum(row_seq), sum(row_seq * row_seq)
        GROUP BY log_partition, cut, chunk
    ),
    CONSTRAINT sent_in_time CHECK now() <= insert_before
)
ENGINE = MergeTree
PARTITION BY toYYYYMM(core_time)
ORDER BY (workspace, occurred_at, id)
SETTINGS non_replicated_deduplication_window = 10000, fsync_after_insert = 1, fsync_part_directory = 1;

CREATE TABLE IF NOT EXISTS impressions
(
    workspace UInt32,
    occurred_at DateTime64(6, 'UTC'),
    id FixedString(16),
    receipt FixedString(16),
    received_at DateTime64(6, 'UTC'),
    offer FixedString(16),
    partner FixedString(16),
    campaign FixedString(16),
    link FixedString(16),
    visitor FixedString(16),
    creative String,
    source_id String,
    subs Array(String),
    params Map(String, String),
    labels Array(LowCardinality(String)),
    counted Bool,
    referrer String,
    user_agent String,
    address String,
    language LowCardinality(String),
    browser LowCardinality(String),
    os LowCardinality(String),
    device LowCardinality(String),
    country LowCardinality(String),
    region LowCardinality(String),
    city String,
    cost Int64,
    cost_currency LowCardinality(String),
    test Bool,
    core_time DateTime64(6, 'UTC'),
    log_partition UInt16,
    cut UInt64,
    chunk UInt16,
    row_seq UInt64,
    insert_before DateTime('UTC'),
    PROJECTION marks
    (
        SELECT log_partition, cut, chunk, count(), min(row_seq), max(row_seq), sum(row_seq), sum(row_seq * row_seq)
        GROUP BY log_partition, cut, chunk
    ),
    CONSTRAINT sent_in_time CHECK now() <= insert_before
)
ENGINE = MergeTree
PARTITION BY toYYYYMM(core_time)
ORDER BY (workspace, occurred_at, id)
SETTINGS non_replicated_deduplication_window = 10000, fsync_after_insert = 1, fsync_part_directory = 1;

CREATE TABLE IF NOT EXISTS conversion_revisions
(
    workspace UInt32,
    occurred_at DateTime64(6, 'UTC'),
    conversion FixedString(16),
    version UInt32,
    -- Takes the conversion from whom it belonged to; the row after it gives it to another.
    is_taken Bool,
    event FixedString(16),
    actor_type LowCardinality(String),
    actor FixedString(16),
    request_id String,
    stated_reason String,
    note String,
    change LowCardinality(String),
    reason LowCardinality(String),
    goal LowCardinality(String),
    offer FixedString(16),
    partner FixedString(16),
    campaign FixedString(16),
    link FixedString(16),
    click FixedString(16),
    click_at DateTime64(6, 'UTC'),
    visitor FixedString(16),
    creative String,
    source_id String,
    subs Array(String),
    labels Array(LowCardinality(String)),
    status_before LowCardinality(String),
    status LowCardinality(String),
    conversions_delta Int8,
    revenue_delta Int64,
    payout_delta Int64,
    refund_id String,
    refund_amount Int64,
    refund_reason String,
    original_amount Int64,
    original_currency LowCardinality(String),
    refunded Int64,
    amount Int64,
    amount_known Bool,
    revenue Int64,
    payout Int64,
    currency LowCardinality(String),
    test Bool,
    core_time DateTime64(6, 'UTC'),
    log_partition UInt16,
    cut UInt64,
    chunk UInt16,
    row_seq UInt64,
    insert_before DateTime('UTC'),
    PROJECTION marks
    (
        SELECT log_partition, cut, chunk, count(), min(row_seq), max(row_seq), sum(row_seq), sum(row_seq * row_seq)
        GROUP BY log_partition, cut, chunk
    ),
    CONSTRAINT sent_in_time CHECK now() <= insert_before
)
ENGINE = MergeTree
PARTITION BY toYYYYMM(core_time)
ORDER BY (workspace, occurred_at, conversion, version)
SETTINGS non_replicated_deduplication_window = 10000, fsync_after_insert = 1, fsync_part_directory = 1;

CREATE TABLE IF NOT EXISTS credits
(
    workspace UInt32,
    conversion FixedString(16),
    version UInt32,
    touch FixedString(16),
    type LowCardinality(String),
    touched_at DateTime64(6, 'UTC'),
    partner FixedString(16),
    link FixedString(16),
    lost LowCardinality(String),
    last_touch UInt16,
    first_touch UInt16,
    linear UInt16,
    time_decay UInt16,
    position_based UInt16,
    core_time DateTime64(6, 'UTC'),
    log_partition UInt16,
    cut UInt64,
    chunk UInt16,
    row_seq UInt64,
    insert_before DateTime('UTC'),
    PROJECTION marks
    (
        SELECT log_partition, cut, chunk, count(), min(row_seq), max(row_seq), sum(row_seq), sum(row_seq * row_seq)
        GROUP BY log_partition, cut, chunk
    ),
    CONSTRAINT sent_in_time CHECK now() <= insert_before
)
ENGINE = MergeTree
PARTITION BY toYYYYMM(core_time)
ORDER BY (workspace, conversion, version, touched_at, touch)
SETTINGS non_replicated_deduplication_window = 10000, fsync_after_insert = 1, fsync_part_directory = 1;

CREATE TABLE IF NOT EXISTS outcomes
(
    workspace UInt32,
    event FixedString(16),
    subject LowCardinality(String),
    status LowCardinality(String),
    reason LowCardinality(String),
    conversion FixedString(16),
    original FixedString(16),
    source FixedString(16),
    received_at DateTime64(6, 'UTC'),
    test Bool,
    core_time DateTime64(6, 'UTC'),
    log_partition UInt16,
    cut UInt64,
    chunk UInt16,
    row_seq UInt64,
    insert_before DateTime('UTC'),
    PROJECTION marks
    (
        SELECT log_partition, cut, chunk, count(), min(row_seq), max(row_seq), sum(row_seq), sum(row_seq * row_seq)
        GROUP BY log_partition, cut, chunk
    ),
    CONSTRAINT sent_in_time CHECK now() <= insert_before
)
ENGINE = MergeTree
PARTITION BY toYYYYMM(core_time)
ORDER BY (workspace, event, row_seq)
SETTINGS non_replicated_deduplication_window = 10000, fsync_after_insert = 1, fsync_part_directory = 1;

-- Conversions as they are now. Derived: the sink writes it before the revisions of the same cut, as often as it must;
-- the highest version stands.
CREATE TABLE IF NOT EXISTS conversions
(
    workspace UInt32,
    occurred_at DateTime64(6, 'UTC'),
    id FixedString(16),
    version UInt32,
    status LowCardinality(String),
    reason LowCardinality(String),
    stated_reason String,
    goal LowCardinality(String),
    offer FixedString(16),
    partner FixedString(16),
    campaign FixedString(16),
    link FixedString(16),
    source FixedString(16),
    click FixedString(16),
    click_at DateTime64(6, 'UTC'),
    visitor FixedString(16),
    customer_id String,
    coupon String,
    transaction_id String,
    original_amount Int64,
    original_currency LowCardinality(String),
    refunded Int64,
    amount Int64,
    amount_known Bool,
    revenue Int64,
    payout Int64,
    currency LowCardinality(String),
    creative String,
    source_id String,
    subs Array(String),
    labels Array(LowCardinality(String)),
    metadata String,
    identified_by LowCardinality(String),
    payout_rule LowCardinality(String),
    -- The rates into the workspace's currency that the values come from, the amount's first.
    rate_from Array(LowCardinality(String)),
    rate_date Array(String),
    rate Array(String),
    received_at DateTime64(6, 'UTC'),
    updated_at DateTime64(6, 'UTC'),
    test Bool
)
ENGINE = ReplacingMergeTree(version)
PARTITION BY toYYYYMM(occurred_at)
ORDER BY (workspace, occurred_at, id)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1;

-- What edges hold back in their spools, as each said last. Derived, like `conversions`: the latest cut stands. `events` is 0
-- where nothing is held any more.
CREATE TABLE IF NOT EXISTS delayed
(
    log_partition UInt16,
    edge FixedString(16),
    cut UInt64,
    since DateTime64(6, 'UTC'),
    events UInt64,
    core_time DateTime64(6, 'UTC')
)
ENGINE = ReplacingMergeTree(cut)
ORDER BY (log_partition, edge)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1;

-- One row a finished cut of a log partition: all rows up to it are in the tables above. A sink that comes back goes
-- on after the last one; its `core_time` is the `data_through` of the partition's workspaces. Written as often as it
-- must: the rows of one cut are the same whoever writes them.
CREATE TABLE IF NOT EXISTS cuts
(
    log_partition UInt16,
    cut UInt64,
    record UInt64,
    record_hash String,
    fact_seq UInt64,
    clicks UInt64,
    impressions UInt64,
    conversion_revisions UInt64,
    credits UInt64,
    outcomes UInt64,
    core_time DateTime64(6, 'UTC')
)
ENGINE = ReplacingMergeTree
PARTITION BY log_partition
ORDER BY (log_partition, cut)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1;
