//! What the tests of both runtimes share: a scripted server, signals, and the tests themselves.
//!
//! A test is a generic function over the runtime. [`every_test!`], [`every_outage!`] and [`every_coding!`] make a `#[test]`
//! of each one.
#![allow(
    missing_docs,
    missing_debug_implementations,
    unreachable_pub,
    clippy::missing_panics_doc,
    clippy::missing_errors_doc,
    clippy::must_use_candidate,
    reason = "the names of tests say what they show"
)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::future_not_send,
    reason = "a test may stop at the first surprise"
)]

pub mod along;
pub mod alpn;
pub mod answers;
pub mod attempts;
pub mod basics;
pub mod bodies;
pub mod callers;
pub mod cap;
pub mod codings;
#[cfg(unix)]
pub mod connecting;
pub mod cuts;
pub mod default_headers;
pub mod drains;
pub mod early;
pub mod endings;
pub mod ends;
pub mod faults;
pub mod file;
pub mod greedy;
pub mod health;
pub mod http2;
pub mod http2_losers;
pub mod http2_server;
pub mod intercepted;
pub mod latencies;
pub mod limits;
pub mod mortal;
pub mod named;
pub mod naming;
pub mod observed;
pub mod one_line;
pub mod outages;
pub mod panics;
pub mod pooling;
pub mod probes;
pub mod promises;
pub mod pushback;
pub mod replace;
pub mod request_timeouts;
pub mod requests;
pub mod server;
pub mod servers;
pub mod sharing;
pub mod signal;
pub mod stale;
pub mod tls;
pub mod tls_server;
pub mod warnings;
pub mod watched;
pub mod wrapped;

use std::future::{Future, poll_fn};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use hedge_net::http::{Http, HttpError, RequestBody};
use hedge_net::{Builder, CallError, Channel, Runtime, Server};

pub type Error = CallError<http::Response<hedge_net::http::Body>, HttpError>;
pub type HttpBuilder<R> = Builder<R, Http<R>>;
pub type HttpChannel<R> = Channel<R, Http<R>>;

/// Makes a `#[test]` of each generic test, on one runtime.
#[macro_export]
macro_rules! on {
    ($run:ident: $($room:ident { $($name:ident)* })*) => {
        $(mod $room {
            $(#[test]
            fn $name() {
                super::$run($crate::$room::$name);
            })*
        })*
    };
}

/// Every generic test.
#[macro_export]
macro_rules! every_test {
    ($run:ident) => {
        $crate::on! { $run:
            callers {
                callers_of_channels_are_callers_too
                an_error_tells_whether_another_caller_may_do_better
            }
            along {
                w3_each_attempt_carries_what_goes_along
                w3_nothing_goes_along_unless_it_is_asked_for
                w3_names_are_options
                w3_the_callers_own_headers_of_the_call_stay
                w3_a_transport_of_the_program_is_told_what_goes_along
                y1_a_dropped_copy_waits_for_the_other_and_blames_no_server
                y1_if_the_other_copy_fails_the_call_retries_or_ends
                y1_a_claim_without_a_second_copy_is_an_ordinary_failure
            }
            alpn {
                c6_alpn_chooses_the_version
                c6_http2_alone_needs_a_server_that_agrees
            }
            answers {
                p1_every_answer_is_one_answer_or_an_error
            }
            attempts {
                l2_each_attempt_has_headers_of_its_own
                p1_headers_of_an_attempt_that_disagree_with_the_body_are_refused
                l15_nothing_but_headers_of_an_attempt_changes
                c3_an_attempt_that_goes_once_more_has_its_headers_again
                l20_a_caller_sees_the_panic_of_on_attempt_and_counts_settle
            }
            basics {
                a_plain_get_says_what_the_server_needs
                c2_a_backup_wins_and_the_loser_is_closed_at_once
                l6_four_backups_are_in_flight_at_once
                f_a_refused_server_is_failed_over
                r5_a_post_is_retried_only_as_long_as_it_has_not_left
                r1_a_status_of_5xx_is_kept_in_the_error
                r2_a_policy_may_retry_a_reply
                bad_requests_are_fatal_and_not_sent
                l2_connecting_has_its_own_deadline
                what_is_not_http_is_a_protocol_error
                a_channel_that_cannot_work_is_not_built
            }
            bodies {
                t1_a_body_that_breaks_off_is_retried
                t1_a_body_over_the_limit_says_so
                chunks_and_trailers_are_kept
                p1_small_chunks_come_joined
                t3_a_factory_makes_a_body_for_each_attempt
                t3_a_body_that_is_sent_once_is_not_retried_once_it_left
                r5_a_body_that_is_sent_once_survives_a_refused_connection
                an_early_answer_to_an_endless_request_closes_the_connection
                t2_a_streaming_server_counts_as_at_work_until_the_body_ends
                t2_a_streaming_body_that_is_dropped_closes_its_connection
                t2_the_deadline_covers_a_body_that_stalls
                t2_the_deadline_covers_a_body_that_never_stalls
                t2_a_rejected_streaming_reply_can_be_read
                t2_a_streaming_reply_without_a_body_owes_nothing
            }
            cap {
                l22_a_full_server_is_passed_over_and_where_all_are_full_nothing_is_sent
                l22_a_call_waits_in_the_queue_until_a_server_has_room
                l22_deadline_cancel_and_the_longest_wait_end_the_wait
                l22_a_dropped_call_and_a_dropped_body_make_room
                l22_a_retry_at_the_same_server_stays_below_the_cap
                l22_a_cap_of_0_is_not_built_and_a_queue_without_a_cap_is_warned_of
            }
            connecting {
                n1_a_unix_socket_is_a_server_like_any_other
                h1_a_unix_server_that_is_not_there_is_isolated_until_it_is
                n4_the_resolver_of_the_program_is_asked_and_the_first_address_that_works_is_used
                h5_a_name_that_cannot_be_resolved_blames_no_server
                n4_an_http_url_names_one_server_and_the_path_before_every_other
                n4_a_url_that_cannot_work_is_not_built
                c8_connections_come_from_the_local_address
                w2_a_reply_tells_both_addresses
            }
            cuts {
                t1_an_answer_that_is_cut_off_anywhere_is_whole_or_broken
                t1_an_answer_over_tls_that_is_cut_off_anywhere_is_whole_or_broken
                a_redirect_is_an_answer
            }
            default_headers {
                each_request_has_the_default_headers_that_it_does_not_set
                h1_a_path_is_checked_with_the_default_headers
                p1_a_default_header_that_no_request_can_have_is_a_build_error
            }
            drains {
                c2_losers_that_answer_keep_their_connections
                c2_losers_that_never_answer_are_closed
                c2_so_many_connections_to_a_server_drain_at_a_time
                c2_a_call_that_is_cancelled_keeps_its_connection
                c2_the_rest_of_a_body_is_thrown_away
                c2_an_answer_over_a_limit_closes_its_connection
                c2_a_request_that_was_not_sent_whole_is_closed_at_once
                c3_a_break_while_draining_closes_what_was_idle_for_as_long
            }
            early {
                t5_an_answer_comes_before_the_request_is_sent_whole
                t5_a_reset_does_not_eat_the_answer
                t5_a_reset_without_an_answer_is_told
                t5_the_deadline_holds_while_a_request_is_stuck
            }
            endings {
                l12_a_token_cancels_from_another_thread
                l12_a_token_that_was_cancelled_before_starts_nothing
                l12_dropping_the_future_cancels
                l2_the_deadline_closes_what_is_in_flight
                l16_an_empty_list_and_servers_that_are_down_are_different
                l3_options_that_a_call_cannot_hold_are_errors
                l16_an_error_says_which_server_and_attempt
                l16_a_log_line_says_where_the_servers_are
                l21_a_server_that_hangs_fails_no_call_that_limits_its_attempts
            }
            ends {
                on_end_is_told_every_end_and_the_servers
                t2_on_end_is_told_a_stream_at_its_head
                on_end_that_panics_harms_neither_reply_nor_count
            }
            faults {
                h1_faults_of_connecting
                c6_faults_of_tls
                t1_faults_of_answers_that_break_off
                p1_faults_of_answers_over_a_limit
            }
            greedy {
                p1_what_has_no_end_is_an_error
                l2_endless_bodies_leave_room_for_others
            }
            health {
                h1_a_server_that_refuses_gets_only_checks_until_one_passes
                h1_checks_come_once_an_interval
                h1_the_applications_check_must_pass_too
                h1_a_path_is_checked_on_a_connection_of_its_own
                h1_a_check_has_the_limits_of_its_channel
                h1_removal_ends_the_checks
                h1_a_wait_ends_with_the_server_or_the_channel
                h1_a_check_that_hangs_ends_with_its_server
                h1_the_interval_changes_while_it_runs
                h1_without_checks_nothing_is_isolated
                h1_a_server_that_nobody_reaches_is_isolated
                h1_a_call_in_a_hurry_isolates_nothing
                h1_a_connection_that_breaks_says_nothing_of_the_others
                h1_a_server_that_was_taken_out_by_hand_stays_out
                h2_a_breaker_isolates_and_probes
                h4_a_breaker_leaves_a_share
                t2_a_streaming_reply_is_a_success_at_its_head
                h5_a_call_is_let_through_while_all_are_broken_and_hurries_the_checks
                h3_calls_are_let_in_by_how_many_servers_are_back
            }
            http2_losers {
                c2_losers_are_reset_and_their_connection_lives
                c2_at_most_20_streams_are_reset_a_second
                c2_a_connection_that_throws_much_away_takes_no_new_request
                c2_losers_over_http2_cost_no_connection
            }
            http2 {
                c1_calls_share_one_connection
                c3_after_a_goaway_calls_go_on_on_a_new_connection
                t4_what_the_server_did_not_process_goes_once_more
                c1_more_connections_are_made_at_the_limit_of_streams
                c3_what_a_broken_connection_lost_goes_once_more
                c3_a_frozen_connection_is_pinged_and_replaced
                p1_an_answer_that_contradicts_itself_is_an_error
                t2_a_streaming_body_and_its_trailers_are_read_and_its_drop_resets
                t3_large_and_made_bodies_are_sent_whole
                t5_an_early_answer_is_handed_over
                s7_a_body_that_fails_is_its_callers_failure_over_http2
                h1_a_path_is_checked_over_http2
                c7_unwritten_bodies_are_bounded
                c4_an_idle_connection_is_closed_and_no_task_is_left
                w2_a_reply_over_http2_tells_its_connection
            }
            intercepted {
                i1_headers_of_interceptors_are_sent
                i1_headers_of_interceptors_are_checked_as_the_callers_are
                i1_nothing_but_headers_of_an_attempt_changes
                i1_a_changed_method_decides_whether_a_request_goes_twice
                i1_one_list_serves_all_channels
            }
            latencies {
                l13_every_call_counts_and_what_was_not_answered_as_a_lower_bound
                b7_an_adaptive_delay_hedges_once_it_has_warmed_up
                b2_a_shadow_sends_no_backup_and_counts_it
            }
            limits {
                p1_a_head_is_as_large_as_its_limit_and_no_larger
                p1_a_head_has_as_many_fields_as_its_limit_and_no_more
                p1_trailers_are_as_many_as_header_fields
                p1_what_is_dropped_has_a_limit_of_its_own
                t1_the_least_limit_lets_large_bodies_through
            }
            observed {
                h1_a_server_that_refuses_and_returns_is_told_step_by_step
                c4_a_connection_that_was_idle_for_too_long_is_told
                counters_count_calls_attempts_and_connections
            }
            named {
                n1_a_file_is_followed_while_calls_run
                n6_channels_that_name_one_url_share_one_watcher
                n4_an_http_url_with_a_balancer_is_every_address_of_the_host
            }
            file {
                c6_a_file_names_roots_a_client_certificate_and_the_name_of_the_server
                a_changed_file_is_applied_to_a_channel_that_runs
                a_list_that_cannot_be_taken_in_whole_changes_nothing
                what_the_program_sets_after_a_file_stays_until_the_file_changes_it
                a_list_of_a_file_does_not_replace_the_list_of_a_source
                c6_a_later_file_takes_back_the_errors_of_a_file_and_keeps_the_rest
            }
            naming {
                n3_the_list_follows_its_source_while_calls_run
                n2_a_source_that_fails_keeps_the_list_and_is_asked_again
                n5_a_call_waits_for_the_first_list_at_most_to_its_deadline
                n6_a_source_is_followed_by_one_task_that_ends_with_the_channel
                n4_a_url_of_a_source_needs_a_balancer_and_a_known_scheme
            }
            wrapped {
                c6_a_wrapped_transport_has_the_url_the_tls_and_the_resolver_of_its_builder
                c4_wrapped_transports_share_connections_if_their_limits_are_equal
                t2_the_deadline_covers_a_body_of_a_wrapped_transport
                h1_a_path_is_checked_of_a_wrapped_transport
                i1_nothing_but_headers_changes_before_a_wrapped_transport
                w3_what_goes_along_passes_through_a_wrapped_transport
            }
            one_line {
                each_method_sends_what_its_line_says
                a_head_has_no_body
                json_goes_and_comes
                what_cannot_be_built_is_named_and_not_sent
                a_reply_says_where_its_body_is_wrong
                r1_a_status_is_an_error_where_it_is_asked_for
                a_line_sets_the_options_of_its_call
                a_line_is_sent_by_threads_and_its_errors_are_shared
            }
            panics {
                h1_a_check_that_panics_has_failed
                a_probe_that_panics_has_no_answer
                b2_a_policy_that_panics_ends_neither_call_nor_count
                b2_a_policy_that_panics_refuses
                l20_a_caller_sees_the_panic_of_what_it_runs_and_counts_settle
                n3_a_filter_may_not_set_the_list_of_its_own_channel
            }
            pooling {
                connections_are_kept_alive
                the_connection_used_last_is_used_next
                no_more_connections_are_kept_than_allowed
                idle_connections_are_closed
                t4_a_connection_that_the_server_closed_is_passed_over
                a_connection_that_the_server_closes_is_not_kept
                n4_a_name_is_looked_up_and_a_name_that_is_none_blames_no_server
                c4_without_connections_there_is_no_task_and_no_timer
                no_task_outlives_its_channel
            }
            probes {
                prequal_sends_calls_where_probes_find_room
                no_other_balancer_asks_for_probes
            }
            promises {
                s7_a_body_that_fails_is_its_callers_failure
                t3_bodies_that_keep_their_word_are_sent_as_announced
                s7_failing_bodies_say_nothing_of_a_server
                s7_requests_that_never_leave_keep_no_failing_server
            }
            pushback {
                r4_grpc_pushback_moves_the_next_backup
                r4_a_pushback_past_the_deadline_cancels_the_next_backup
                r4_do_not_cancels_the_retry_of_another_attempts_failure
                r4_retry_after_speaks_for_its_server
                r1_a_status_that_is_no_failure_is_not_retried
                r4_a_policy_of_ones_own_retries_when_the_server_says
                x1_a_pushback_reaches_the_channel_above
            }
            replace {
                l2_timeout_and_backup_are_replaced_while_calls_run
                h2_a_breaker_is_replaced_and_what_is_wrong_changes_nothing
            }
            request_timeouts {
                c3_a_408_on_a_reused_connection_goes_once_more_on_a_new_one
                c3_a_408_is_an_answer_by_default
                c3_a_408_to_what_may_not_be_sent_twice_is_an_answer
                c3_what_may_be_sent_twice_is_sent_whole_after_a_408
                c3_a_408_on_a_new_connection_is_an_answer
                c3_a_late_408_is_an_answer
                c3_a_408_before_the_request_closes_the_connection
                c3_a_408_that_lies_in_the_socket_fails_no_call
            }
            requests {
                p1_headers_that_disagree_with_the_body_are_refused
                p1_headers_that_agree_are_sent_as_one_request
                t3_a_body_of_unknown_length_goes_in_chunks_with_any_method
            }
            servers {
                l20_a_call_at_a_removed_server_goes_on
                s8_a_call_names_its_own_servers
                s8_named_servers_of_the_list_share_its_counts
                s8_a_server_of_the_calls_own_is_never_isolated
                n3_a_filter_keeps_servers_out
                s2_a_new_list_says_whose_weights_are_none
                s5_a_call_without_a_request_code_is_not_sent
                l15_a_call_may_say_that_it_is_idempotent
            }
            warnings {
                settings_that_contradict_each_other_are_warned_of
            }
            sharing {
                c4_equal_channels_share_connections
                c4_a_group_and_other_limits_keep_connections_apart
                c4_connections_outlive_their_last_channel_for_as_long_as_is_set
                c1_a_short_connection_serves_one_attempt
                c4_an_old_connection_is_closed
                c4_a_connection_is_closed_before_the_server_does_it
                c4_settings_of_idle_connections_change_while_the_channel_runs
            }
            tls {
                c6_an_https_url_is_the_checked_name_the_sni_and_the_host
                c6_the_roots_of_the_system_are_trusted_in_one_line
                c6_tls_name_comes_before_the_host_of_the_server
                c6_an_error_says_which_check_failed
                c6_a_server_of_tls_that_is_called_in_clear_says_what_to_write
                c6_the_handshake_counts_in_the_connect_deadline
                c6_a_client_certificate_is_shown_when_it_is_asked_for
                c6_a_second_handshake_resumes_the_session
                c6_a_tls_connection_is_kept_and_used_again
                t1_a_body_that_is_cut_off_is_no_answer
                h1_checks_of_a_tls_channel_include_the_handshake
                c6_no_verification_must_be_asked_for_by_its_name
            }
            stale {
                c3_a_request_that_an_idle_connection_lost_goes_once_more_on_a_new_one
                c3_three_servers_that_reset_what_is_idle_fail_no_call
                c3_what_is_not_idempotent_fails_as_broken
                c3_a_call_may_say_that_it_is_idempotent
                c3_a_new_connection_that_breaks_is_a_failure
                c3_a_byte_of_the_answer_makes_a_break_a_failure
                c3_a_late_break_is_a_failure
                c3_a_timeout_on_an_idle_connection_closes_its_siblings
                c3_a_server_that_closes_after_each_answer_fails_no_call
                h1_a_body_is_made_once_its_connection_stands
            }
        }
    };
}

/// Tests of content codings, for a build with the feature `gzip`.
#[macro_export]
macro_rules! every_coding {
    ($run:ident) => {
        $crate::on! { $run:
            codings {
                w4_a_gzip_bomb_is_an_answer_over_its_limit
            }
        }
    };
}

/// Every balancer under load while a server is killed and restarted.
#[macro_export]
macro_rules! every_outage {
    ($run:ident) => {
        $crate::on! { $run:
            outages {
                h1_rr
                h1_wrr
                h1_random
                h1_wr
                h1_la
                h1_p2c
                h1_prequal
                h1_c_murmurhash
                h1_c_md5
                h1_c_ketama
            }
        }
    };
}

/// Long enough for anything that is not stuck, on a machine that is busy with something else too.
const PATIENCE: Duration = Duration::from_secs(180);

/// Runs a test, and fails it when it is stuck.
pub async fn within<R: Runtime>(runtime: R, test: impl Future<Output = ()>) {
    let mut sleep = pin!(runtime.sleep_until(runtime.now() + PATIENCE));
    let mut test = pin!(test);
    poll_fn(|cx| match test.as_mut().poll(cx) {
        Poll::Pending if sleep.as_mut().poll(cx).is_ready() => panic!("the test is stuck"),
        poll => poll,
    })
    .await;
}

/// Polls a future until something else happens, then drops it.
pub async fn drop_when<F: Future<Output: std::fmt::Debug>>(future: F, event: impl Future<Output = ()>) {
    let mut future = pin!(future);
    let mut event = pin!(event);
    poll_fn(|cx| {
        if let Poll::Ready(output) = future.as_mut().poll(cx) {
            panic!("done before the event: {output:?}");
        }
        event.as_mut().poll(cx)
    })
    .await;
}

/// Runs two futures to their ends.
pub async fn both<A: Future, B: Future>(a: A, b: B) -> (A::Output, B::Output) {
    let (mut a, mut b) = (pin!(a), pin!(b));
    let (mut first, mut second) = (None, None);
    poll_fn(|cx| {
        if first.is_none()
            && let Poll::Ready(output) = a.as_mut().poll(cx)
        {
            first = Some(output);
        }
        if second.is_none()
            && let Poll::Ready(output) = b.as_mut().poll(cx)
        {
            second = Some(output);
        }
        match (first.take(), second.take()) {
            (Some(a), Some(b)) => Poll::Ready((a, b)),
            (a, b) => {
                (first, second) = (a, b);
                Poll::Pending
            }
        }
    })
    .await
}

/// A builder for a list of addresses, with a time limit that no test meets by chance.
pub fn list<R: Runtime>(runtime: &R, addresses: &[SocketAddr]) -> HttpBuilder<R> {
    let addresses: Vec<_> = addresses.iter().map(ToString::to_string).collect();
    Channel::builder(runtime.clone(), format!("list://{}", addresses.join(",")))
        .load_balancer("rr")
        .timeout(PATIENCE)
        .connect_timeout(PATIENCE)
        .seed(1)
}

pub fn get(uri: &str) -> http::Request<RequestBody> {
    http::Request::get(uri).body(RequestBody::Empty).unwrap()
}

pub fn post(uri: &str) -> http::Request<RequestBody> {
    http::Request::post(uri).body("text".into()).unwrap()
}

/// An address that refuses connections: the client's side of one, kept open so that nobody else comes to listen there.
pub fn refused() -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let address = stream.local_addr().unwrap();
    std::mem::forget((stream, listener));
    address
}

/// Nothing is in flight anywhere.
pub fn assert_settled<R: Runtime>(channel: &HttpChannel<R>) {
    for server in channel.servers() {
        assert_eq!(channel.in_flight(&server), 0, "{server}");
    }
}

pub fn server(address: SocketAddr) -> Server {
    Server::new(address, "")
}
