//! What every store does. A case is written once, against the traits, and runs on both databases.

use std::{future::Future, pin::Pin};

use crate::harness::{World, on_postgres, on_sqlite};

/// A case, for those who run them all.
pub type Case = fn(World) -> Pin<Box<dyn Future<Output = ()> + Send>>;

macro_rules! suite {
    ($($module:ident { $($case:ident,)* })*) => {
        $(mod $module;)*

        mod sqlite {
            $(mod $module {
                $(#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
                async fn $case() {
                    crate::suite::on_sqlite(crate::suite::$module::$case).await;
                })*
            })*
        }

        mod postgres {
            $(mod $module {
                $(#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
                async fn $case() {
                    crate::suite::on_postgres(crate::suite::$module::$case).await;
                })*
            })*
        }

        /// All of them.
        pub const CASES: &[Case] = &[$($(|world| Box::pin($module::$case(world)),)*)*];
    };
}

suite! {
    accounts {
        a_grant_is_stored_with_all_that_follows_from_it,
        a_grant_of_an_account_that_moved_on_is_stale,
        t15_an_account_of_another_tenant_is_refused_until_its_grant_has_ended,
        t15_an_account_of_another_end_user_is_refused_until_it_is_disconnected,
        a_pending_account_is_given_up_only_at_its_version,
        of_many_grants_for_one_account_each_version_is_stored_once,
        connecting_again_wakes_the_posts_that_are_due_and_stops_a_disconnect,
        accounts_are_listed_newest_first_page_by_page,
        a_disconnect_cancels_what_has_not_begun_and_is_done_once,
        tokens_are_erased_only_while_the_account_is_revoked,
        a_nul_from_a_platform_is_replaced,
    }
    tokens {
        one_of_eight_gets_the_right_to_renew,
        the_right_to_renew_ends_by_itself_and_is_given_back_by_its_holder_only,
        renewed_tokens_are_stored_once_per_version_whoever_brings_them,
        renewed_tokens_make_an_account_usable_again_but_not_a_revoked_or_pending_one,
        renewed_tokens_move_the_refresh_job,
        what_is_known_of_a_renewal_is_told,
        only_an_active_account_of_that_version_needs_to_connect_again,
    }
    posts {
        of_a_hundred_requests_with_one_key_one_is_stored,
        a_key_is_a_tenants_own_and_belongs_to_one_request,
        a_step_is_recorded_whole,
        a_step_without_a_live_lease_of_this_post_records_nothing,
        a_post_goes_only_where_its_state_leads,
        a_finished_step_frees_the_posts_places,
        a_step_that_the_platform_counts_holds_the_posts_places_from_then,
        the_next_step_of_a_post_that_waits_is_told,
        news_during_a_step_makes_the_job_run_again_at_once,
        ids_from_a_webhook_survive_a_step_that_did_not_know_them,
        an_irreversible_call_is_marked_once_and_answered_from_its_receipt,
        a_mark_that_never_left_is_taken_back_unless_it_was_answered,
        marking_needs_a_live_lease_of_this_post,
        a_post_that_has_not_begun_is_cancelled,
        posts_of_a_group_are_stored_together_or_not_at_all,
        the_same_content_is_not_stored_twice_within_a_day,
        a_post_that_has_not_begun_is_edited,
        a_draft_has_no_job_until_it_is_published,
        a_post_that_has_begun_is_asked_to_stop,
        posts_that_failed_for_want_of_access_go_on_when_their_account_is_connected_again,
        a_post_that_has_ended_is_not_stopped,
        posts_are_listed_newest_first_page_by_page,
        what_became_of_posts_is_read_for_sums,
        a_post_is_found_by_the_platforms_id_of_the_attempt,
    }
    events {
        a_webhook_is_stored_once_however_often_it_comes,
        a_webhook_that_cannot_be_read_is_buried,
        webhooks_that_come_together_are_stored_in_one_commit,
        commits_of_the_same_webhooks_at_once_never_wait_for_each_other,
        webhooks_are_settled_together_each_by_its_own_claim,
        r26_a_revived_webhook_has_no_second_effect,
        news_of_a_post_wakes_its_job_whatever_became_of_it,
        news_of_an_ended_post_wakes_nothing,
        visible_ids_are_added_and_find_the_post_later,
        events_that_mean_nothing_to_us_are_stored_only,
        an_event_of_an_unknown_account_is_kept_for_the_apps_tenant,
        t43_an_event_matches_only_inside_the_app_that_signed_it,
        t44_a_post_of_another_account_is_not_matched,
        an_event_that_was_seen_has_no_second_effect,
        an_end_of_the_grant_erases_the_tokens,
        t46_an_end_of_an_older_grant_is_recorded_and_ignored,
        t45_events_in_any_order_lead_to_the_same_post,
        without_the_lease_no_event_is_applied,
        events_are_listed_newest_first_page_by_page,
    }
    avatars {
        a_picture_is_looked_for_by_one_at_a_time,
        pictures_belong_to_accounts_and_go_with_them,
    }
    audits {
        an_action_is_noted_with_what_it_does_and_only_if_it_does_something,
        t91_of_many_who_append_at_once_each_has_a_place_in_one_chain,
        the_log_is_listed_newest_first_and_found_by_action_target_and_time,
        tenants_with_a_chain_are_found_one_after_another,
    }
    erasures {
        an_account_is_erased_step_by_step_and_counted,
        an_owners_name_is_forgotten_at_the_end,
        a_tenant_is_erased_with_its_keys_and_its_name,
        a_tenant_is_given_another_name_that_nobody_has,
    }
    flows {
        t03_of_fifty_callbacks_one_takes_the_flow,
        t05_an_expired_flow_is_taken_out_but_not_given,
        a_session_is_found_while_it_lives,
        the_first_browser_that_opens_a_link_has_it,
        a_session_is_ended_once,
        of_a_hundred_completions_one_makes_the_account_active,
        a_completion_code_is_good_for_its_session_and_time,
        a_grant_of_a_session_that_was_called_off_is_not_stored,
        a_flow_goes_on_with_a_choice_that_is_looked_at_often_and_taken_once,
        of_several_accounts_all_are_stored_and_all_are_taken,
        of_several_accounts_those_are_taken_that_are_still_there,
        of_several_accounts_none_is_stored_if_one_is_in_the_way,
        a_grant_is_shared_until_the_last_of_those_that_were_chosen_together,
        origins_are_a_tenants_own,
        expired_flows_and_sessions_are_purged_in_bounded_steps,
    }
    jobs {
        jobs_of_one_key_never_run_at_the_same_time,
        claimers_at_once_never_get_the_same_job,
        the_job_that_has_waited_longest_comes_first,
        a_busy_key_does_not_hold_up_others,
        a_claim_that_expired_is_claimed_again_and_its_holder_writes_nothing,
        a_renewed_lease_lasts,
        abandoned_jobs_are_taken_over_alone_and_count_as_lost,
        leases_are_renewed_together,
        t62_tenants_take_turns,
        a_job_behind_many_of_a_busy_key_is_found,
        dead_jobs_are_listed_and_revived,
        a_host_that_is_alone_ends_the_leases_of_the_one_before,
        a_returned_job_is_due_at_once_and_has_its_attempt_back,
        a_job_ends_as_its_worker_says,
        a_woken_job_is_due_now,
        what_a_commit_makes_due_wakes_the_loops_of_its_kind,
        what_is_taken_back_wakes_nobody,
        a_job_woken_while_it_runs_runs_once_more,
        storing_a_job_again_moves_it_forward_and_never_back,
        the_queue_is_counted,
        what_waits_for_a_tenants_receiver_is_no_lag,
        ended_jobs_are_purged_in_bounded_steps_with_their_webhooks,
    }
    keys {
        a_tenant_is_made_once,
        tenants_are_made_by_name_and_listed_newest_first,
        keys_that_were_used_last_are_listed_first,
        a_tenant_has_one_active_data_key,
        of_many_hosts_one_makes_the_data_key,
        sealed_rows_are_noticed,
        an_api_key_is_found_listed_and_killed,
        a_use_of_an_api_key_is_noted_to_the_hour,
        an_operators_session_ends_unused_or_old_or_on_request,
        the_store_tells_the_time_and_proves_that_it_writes,
    }
    media {
        a_file_is_kept_until_it_expires,
        keeping_a_file_never_shortens_its_life,
        expired_files_are_taken_out_in_bounded_steps,
    }
    metrics {
        a_published_post_with_a_public_id_is_watched_from_then,
        readings_are_recorded_with_the_end_of_their_job,
        readings_of_a_lost_claim_are_not_recorded,
        news_of_numbers_is_an_event_for_those_who_name_it,
        a_post_that_is_watched_while_its_account_is_read_is_not_forgotten,
        old_readings_are_purged_in_bounded_steps,
    }
    uploads {
        an_upload_is_begun_within_the_tenants_room,
        of_many_that_begin_at_once_none_exceeds_the_room,
        one_at_a_time_writes_an_upload,
        a_finished_upload_is_a_file_of_the_same_id,
        a_deleted_upload_is_written_no_more,
        an_import_is_stored_once_for_each_key,
        room_is_kept_for_an_import_as_it_becomes_known,
        of_many_that_grow_at_once_none_exceeds_the_room,
        a_failed_import_keeps_its_reason_and_no_room,
        expired_uploads_are_taken_out_in_bounded_steps,
        ids_of_files_and_uploads_are_known,
        files_are_listed_newest_first_page_by_page,
    }
    questions {
        what_a_step_observed_is_listed,
        a_pull_url_gives_its_file_until_it_expires_or_its_post_ends,
        of_a_fetch_and_a_close_at_once_one_wins,
        pull_urls_need_a_live_lease_of_their_post,
        ended_pull_urls_are_forgotten_in_bounded_steps,
        a_stray_event_wakes_the_one_post_with_an_open_call_and_names_its_attempt,
        two_open_calls_or_two_strays_settle_nothing,
        an_attempt_that_never_answered_keeps_later_ones_ambiguous_for_a_day,
    }
    slots {
        never_more_places_than_the_limit,
        a_full_window_tells_when_a_place_frees,
        a_place_frees_when_it_is_settled,
        a_post_keeps_its_one_place,
        a_place_that_frees_is_given_to_the_first_in_the_line,
        one_that_does_not_come_loses_its_turn,
        a_paused_window_is_closed_to_everybody,
        a_post_that_ends_gives_its_places_to_those_who_wait,
        several_windows_are_told_at_once,
        freed_places_are_purged_in_bounded_steps,
    }
    deliveries {
        endpoints_are_stored_listed_changed_and_deleted,
        a_secret_is_rotated_once_per_version,
        an_event_is_stored_with_its_deliveries,
        an_attempt_is_noted_with_what_it_says_of_its_endpoint,
        deliveries_are_sent_again_one_or_many,
        ended_deliveries_are_purged_in_bounded_steps,
        an_endpoint_that_is_deleted_meanwhile_fails_no_event,
    }
    operations {
        accounts_are_counted_by_state_in_their_scope,
        posts_are_counted_open_waiting_and_by_outcome,
        work_and_dead_letters_are_counted_by_kind,
        deliveries_are_counted_by_state,
        the_time_from_receipt_to_effect_is_told,
        accounts_that_lost_their_access_are_counted,
    }
    tenancy {
        t16_another_tenant_sees_and_changes_nothing,
    }
}
