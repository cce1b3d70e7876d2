//! What the log promises, asked of both engines: `embedded::…` and `kafka::…` are the same tests.

#![allow(missing_docs, unreachable_pub, reason = "a test binary has no interface")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking, in its fixtures, too"
)]

mod appending;
#[allow(dead_code, reason = "the end-to-end tests also pause a broker and let it go on")]
mod broker;
mod engine;
mod keeping;
mod reading;
mod real_broker;
mod real_groups;
mod real_topics;

/// Makes each test one of either engine.
macro_rules! conformance {
    ($($module:ident :: $name:ident,)*) => {
        mod embedded {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                crate::$module::$name::<crate::engine::Embedded>().await;
            })*
        }

        mod kafka {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                crate::$module::$name::<crate::engine::Kafka>().await;
            })*
        }
    };
}

conformance! {
    appending::append_answers_per_record,
    appending::append_keeps_the_order_within_a_partition,
    appending::concurrent_appends_get_positions_of_their_own,
    appending::large_records_are_refused_in_their_place,
    appending::unknown_partitions_are_refused,
    appending::more_than_may_be_pending_is_refused,
    appending::a_producer_is_dropped_with_appends_in_flight,
    appending::a_closed_log_takes_and_gives_nothing,
    reading::subscribe_starts_at_a_position,
    reading::a_batch_has_one_partition_and_a_limit,
    reading::next_waits_at_the_end_and_wakes,
    reading::pause_holds_a_partition_and_resume_goes_on,
    reading::next_is_cancel_safe,
    reading::positions_outside_the_log_halt,
    reading::a_reader_that_deletion_overtakes_halts,
    reading::many_records_are_read_in_order,
    keeping::topics_keep_their_partition_count,
    keeping::log_times_never_go_back,
    keeping::records_below_a_position_are_deleted,
    keeping::a_crash_loses_nothing_acknowledged,
}
