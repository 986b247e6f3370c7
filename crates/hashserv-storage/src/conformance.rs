//! Tests that every backend must pass.
//!
//! A backend implements [`TestDatabase`] in its tests and calls [`conformance_tests!`](crate::conformance_tests),
//! which makes a test of each function here:
//!
//! ```ignore
//! hashserv_storage::conformance_tests!(TempDatabase::create().await);
//! ```
//!
//! Each test gets a database of its own; it panics where the backend breaks the contract of
//! [`Storage`], and returns the errors that it did not expect.

#![expect(missing_docs, reason = "each test is named after the behaviour that it checks")]

pub mod accounts;
pub mod closing;
pub mod collection;
pub mod equivalence;
pub mod lookups;
pub mod removal;
pub mod rows;
mod samples;
pub mod sharing;

use std::sync::Arc;

use async_trait::async_trait;

use crate::{Storage, StorageError};

/// What a test gives back.
pub type TestResult = Result<(), StorageError>;

/// A database for one test: empty at first, gone afterwards.
#[async_trait]
pub trait TestDatabase: Send + Sync {
    /// Opens the database; again for every call, as another process would.
    async fn open(&self) -> Arc<dyn Storage>;
}

/// Makes a `#[tokio::test]` of each conformance test; the expression, which may await, makes a [`TestDatabase`].
#[macro_export]
macro_rules! conformance_tests {
    ($database:expr) => {
        $crate::conformance_tests!(@module accounts $database; {
            accounts_are_created_once_and_kept_apart_by_name
            accounts_are_changed_only_where_they_exist
            putting_an_account_creates_or_replaces_it
            a_name_made_anew_is_another_account
        });
        $crate::conformance_tests!(@module closing $database; {
            a_closed_storage_refuses_everything
            closing_finishes_what_was_begun
            what_was_acknowledged_is_there_after_opening_again
        });
        $crate::conformance_tests!(@module collection $database; {
            without_a_collection_everything_is_kept
            marking_counts_what_matches_and_makes_the_mark_current
            marks_are_taken_one_after_the_other
            marking_many_counts_each
            marking_by_any_columns_counts_each
            marking_by_a_mark_sees_the_marks_before
            sweeping_removes_what_is_not_marked
            what_is_reported_during_a_collection_is_kept
            only_the_current_mark_is_swept
            the_empty_mark_is_never_swept
            a_sweep_of_many_rows_removes_all
            marking_many_rows_marks_all
        });
        $crate::conformance_tests!(@module equivalence $database; {
            a_first_report_keeps_its_unihash
            reports_of_one_output_share_the_unihash_of_the_oldest
            a_task_keeps_the_unihash_that_it_has
            outputs_of_other_methods_are_not_equivalent
            report_with_an_older_time_is_not_older_than_what_is_stored
            a_report_is_recorded_once
            a_task_without_unihash_gets_one_again
            an_older_task_without_unihash_does_not_count
            reports_of_a_batch_see_those_before_them
            a_task_that_gets_a_unihash_counts_for_its_older_reports
            recorded_unihashes_are_kept
            recorded_unihashes_of_a_batch_see_those_before_them
            concurrent_reports_of_an_output_converge
        });
        $crate::conformance_tests!(@module lookups $database; {
            unknown_hashes_are_not_found
            nothing_asked_is_nothing_answered
            results_stand_in_the_order_of_the_keys
            keys_are_opaque_text
            text_that_is_no_digest_comes_back
            batches_beyond_the_bound_are_served
            the_newest_unihashes_are_told_in_pages
            concurrent_lookups_get_their_own_answers
        });
        $crate::conformance_tests!(@module removal $database; {
            each_table_looks_at_its_own_columns
            all_conditions_of_a_table_must_match
            every_column_can_be_named
            without_conditions_nothing_is_removed
            odd_values_match_only_themselves
            many_rows_are_removed
            unused_reports_are_cleaned_by_age
            all_unused_reports_are_cleaned_without_age
        });
        $crate::conformance_tests!(@module rows $database; {
            a_report_comes_back_in_full
            absent_details_stay_absent
            the_oldest_report_of_an_output_is_found
            rows_with_a_unihash_need_one
            usage_counts_the_rows_of_each_table
        });
        $crate::conformance_tests!(@module sharing $database; {
            what_one_commits_another_sees
            reports_through_two_storages_converge
            removals_by_another_are_noticed
            sweeps_by_another_are_noticed
            a_collection_is_shared
        });
    };
    (@module $module:ident $database:expr; { $($test:ident)* }) => {
        mod $module {
            #[allow(unused_imports, reason = "what the expression names")]
            use super::*;

            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $test() -> $crate::conformance::TestResult {
                    let database = $database;
                    $crate::conformance::$module::$test(&database).await
                }
            )*
        }
    };
}
