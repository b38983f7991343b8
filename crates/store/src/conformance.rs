//! The tests that every driver has to pass: what the seam promises, one named case for each promise.
//!
//! A driver's tests call [`conformance!`](crate::conformance!) with a function that makes a
//! [`Harness`]; each case becomes a test of its own. There is no list of cases to skip.

#![expect(clippy::unwrap_used, reason = "test code: a panic is the verdict")]

use std::sync::Arc;

use async_trait::async_trait;

use sexton_domain::change::Record;
use sexton_domain::event::NewEvent;

use crate::driver::Driver;

pub mod archives;
pub mod batches;
pub mod deliveries;
pub mod events;
pub mod expired;
pub mod faults;
pub mod guards;
pub mod jobs;
pub mod limits;
pub mod lists;
pub mod paging;
pub mod records;
pub mod runs;
pub mod sessions;
pub mod sweep;
pub mod tally;
pub mod usage;

mod chance;
mod make;
mod world;

pub use world::World;

/// What a case needs of a driver's surroundings: an empty store that outlives the driver.
#[async_trait]
pub trait Harness: Send + 'static {
    /// Opens the store: the same one each time. The driver before was closed or dropped.
    async fn open(&mut self) -> Arc<dyn Driver>;

    /// Lets one of the next commits of the open driver go wrong, once.
    fn break_next(&self, fault: Fault);
}

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// A batch runs into an error that makes the database roll back the whole transaction, whatever
    /// else is in it: the next batch, or the one that comes after so many others.
    RollBack {
        /// How many batches come before it.
        after: u32,
    },
    /// The database refuses to commit the next transaction.
    Refuse,
    /// The database commits the next transaction and nobody learns of it.
    LoseAnswer,
}

/// Makes a test of every case. `$harness` is an async function without arguments that answers a
/// [`Harness`] of an empty store.
#[macro_export]
macro_rules! conformance {
    ($harness:path) => {
        $crate::conformance! { @cases $harness;
            archives: segments_are_listed_completely_by_name,
                archives_of_a_segment_come_in_the_order_of_their_offsets,
                archives_are_listed_newest_session_first,
                alerts_come_active_first_and_each_newest_first,
                parts_of_a_receipt_come_in_the_order_of_their_ids;
            batches: a_batch_that_fails_in_the_middle_leaves_no_trace,
                a_conflict_undoes_its_own_batch_and_no_other_of_the_group,
                claims_are_answered_in_their_order,
                batches_of_one_task_are_applied_in_order_without_waiting,
                a_dropped_ticket_does_not_undo_its_batch,
                an_acknowledged_batch_is_seen_by_every_later_read,
                changes_of_one_batch_see_each_other,
                an_empty_batch_is_acknowledged,
                a_closed_store_refuses_and_keeps_what_it_accepted;
            deliveries: hooks_are_listed_by_name,
                the_first_of_a_lane_goes_out_and_its_end_releases_the_next,
                deliveries_by_hand_and_without_a_session_are_outside_of_any_order,
                a_delivery_whose_event_is_gone_stops_nobody,
                due_deliveries_agree_with_the_model_after_random_changes,
                every_filter_of_deliveries_agrees_with_the_model;
            expired: nodes_expire_by_their_end,
                jobs_expire_by_removal_without_sessions_and_by_being_done,
                runs_expire_by_their_end,
                runs_beyond_the_newest_of_a_job_expire,
                an_event_does_not_expire_while_a_delivery_of_it_is_pending_or_dead,
                deliveries_expire_by_how_they_came_to_their_end,
                usage_reports_and_remembered_answers_expire_by_their_time,
                stubs_of_archives_and_segments_expire_by_their_deletion,
                alerts_expire_by_when_they_were_cleared;
            faults: a_rolled_back_transaction_fails_one_batch_and_stores_the_others,
                a_refused_commit_acknowledges_nothing_and_stores_nothing,
                a_lost_answer_is_found_by_reading_again,
                an_unacknowledged_batch_does_not_come_back_after_a_crash;
            events: events_are_numbered_in_the_order_of_their_batches,
                events_of_concurrent_writers_have_one_order_that_readers_never_see_change,
                the_number_of_a_deleted_event_is_never_used_again,
                an_event_is_stored_once,
                a_conflict_leaves_no_number_visible,
                an_event_that_somebody_is_still_to_be_told_stays,
                an_event_is_found_by_its_id;
            guards: a_guard_for_a_living_epoch_holds_until_the_epoch_ends,
                a_guard_for_the_end_of_the_log_notices_every_event,
                a_guard_for_an_unchanged_record_notices_every_change,
                a_guard_for_an_absent_record_notices_its_insertion,
                a_guard_for_a_job_without_running_runs_notices_one,
                a_guard_for_an_idle_key_notices_a_running_run,
                a_guard_for_room_in_a_queue_counts_the_queued_runs_of_its_key,
                a_guard_for_a_session_that_nobody_continues_notices_a_successor,
                a_guard_for_a_session_that_is_told_notices_what_is_to_be_told;
            jobs: a_job_key_is_unique_among_jobs_that_are_not_removed,
                due_jobs_come_longest_due_first_and_only_active_ones,
                the_next_due_time_is_the_earliest_of_active_jobs,
                capped_changed_and_troubled_jobs_are_found_among_all;
            limits: texts_of_any_script_come_back_as_they_were,
                texts_up_to_the_limits_are_stored,
                what_is_too_large_is_refused_by_name_and_leaves_no_trace,
                the_largest_numbers_and_the_first_and_last_times_come_back;
            lists: every_filter_of_sessions_agrees_with_the_model,
                every_filter_of_runs_agrees_with_the_model,
                every_filter_of_jobs_agrees_with_the_model,
                nodes_are_listed_newest_first_and_the_living_ones_completely;
            paging: a_page_ends_where_the_next_begins_for_every_size,
                pages_under_concurrent_writes_repeat_and_leave_out_nothing,
                a_page_of_limit_zero_or_beyond_the_maximum_is_clamped;
            records: every_kind_of_record_comes_back_equal_after_reopening,
                a_new_record_is_inserted_once,
                a_record_is_replaced_only_at_the_version_that_was_read,
                a_record_is_deleted_only_at_the_version_that_was_read,
                every_kind_of_record_can_be_deleted,
                a_delivery_is_unique_per_event_and_hook,
                a_token_is_unique_per_hash,
                a_remembered_answer_is_stored_once,
                a_store_keeps_its_id_and_generation;
            runs: an_attempt_of_a_slot_is_unique,
                one_run_at_most_is_running_on_a_key,
                the_queue_is_ordered_by_turn_and_leaves_agents_out,
                rested_runs_come_longest_rested_first,
                active_runs_of_a_job_come_oldest_first,
                the_newest_slot_of_a_job_has_the_highest_attempt,
                the_last_turn_is_that_of_a_started_run_and_never_falls,
                running_runs_come_oldest_first,
                orphan_runs_are_those_of_epochs_that_do_not_live,
                active_runs_on_a_key_come_in_the_order_of_their_turns;
            sessions: one_open_session_at_most_has_a_key,
                an_open_session_is_found_by_its_key,
                entries_are_gap_free,
                an_append_does_not_bump_the_version,
                a_put_does_not_move_the_entry_count,
                an_append_by_another_epoch_is_refused,
                an_append_to_an_ended_or_unknown_session_is_refused,
                a_transcript_comes_back_to_an_ended_session_alone_and_without_gaps,
                concurrent_appends_leave_no_gap_and_no_double,
                entries_are_read_in_order_from_anywhere,
                deleting_a_session_deletes_its_transcript_and_no_other,
                orphan_sessions_are_open_ones_of_epochs_that_do_not_live;
            sweep: due_sessions_are_those_whose_look_is_due,
                ended_sessions_of_a_job_are_counted_from_the_newest,
                open_sessions_of_an_epoch_come_oldest_first,
                idle_sessions_come_longest_silent_first_by_kind,
                continued_sessions_are_those_that_an_open_one_names;
            tally: the_tally_equals_the_truth_after_random_changes;
            usage: a_usage_report_counts_once,
                daily_sums_outlive_their_reports,
                an_imported_report_keeps_its_day_and_never_expires,
                daily_sums_are_by_utc_day_job_agent_and_model;
        }
    };
    (@cases $harness:path; $($module:ident: $($case:ident),+;)+) => {
        $(mod $module {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $case() {
                    let world = $crate::conformance::World::open($harness().await).await;
                    $crate::conformance::$module::$case(world).await;
                }
            )+
        })+
    };
}

/// One record of each kind, and two of those that have two shapes, no field left at its default; and a
/// fact that some of them refer to. For fixtures.
pub fn specimens() -> (Vec<Record>, NewEvent) {
    let make = make::Make::default();
    let fact = make.event();
    (records::one_of_each(&make, &fact), fact)
}

#[cfg(test)]
mod tests {
    /// A case that is not in the list would never run.
    #[test]
    fn every_case_is_in_the_list() {
        let list = include_str!("conformance.rs");
        let cases = [
            include_str!("conformance/archives.rs"),
            include_str!("conformance/batches.rs"),
            include_str!("conformance/deliveries.rs"),
            include_str!("conformance/expired.rs"),
            include_str!("conformance/sweep.rs"),
            include_str!("conformance/events.rs"),
            include_str!("conformance/faults.rs"),
            include_str!("conformance/guards.rs"),
            include_str!("conformance/jobs.rs"),
            include_str!("conformance/limits.rs"),
            include_str!("conformance/lists.rs"),
            include_str!("conformance/paging.rs"),
            include_str!("conformance/records.rs"),
            include_str!("conformance/runs.rs"),
            include_str!("conformance/sessions.rs"),
            include_str!("conformance/tally.rs"),
            include_str!("conformance/usage.rs"),
        ];
        let names = cases.iter().flat_map(|file| file.split("\npub async fn ").skip(1));
        let names: Vec<&str> = names.filter_map(|rest| rest.split('(').next()).collect();
        assert!(names.len() > 60, "the cases were found");
        for name in names {
            assert!(list.contains(name), "{name} is not in the list");
        }
    }
}
