//! Sources of servers over real sockets. A test is a generic function over the runtime, and [`every_test!`] makes a
//! `#[test]` of each one.
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

pub mod authority;
pub mod consul;
pub mod etcd;
pub mod etcd_server;
pub mod followed;
pub mod hostile;
pub mod kubernetes;
pub mod remotefile;
pub mod scripted;
pub mod secret;

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use hedge_link::Runtime;

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
            consul {
                n1_consul_is_asked_by_blocking_queries
                n6_a_consul_that_answers_at_once_is_not_asked_in_a_loop
                n1_a_token_that_consul_repeats_stays_hidden
                n1_a_token_that_stands_in_a_file_is_read_for_each_request
            }
            etcd {
                n1_etcd_gives_the_servers_below_a_prefix_and_their_changes
                n1_etcd_is_read_page_by_page
                n2_a_compacted_revision_is_read_anew
                n2_an_etcd_that_dies_is_an_error_and_its_return_is_a_list
                n2_an_etcd_that_freezes_is_found_out
                n2_a_watch_that_misses_a_change_is_found_out
                n2_the_first_message_of_a_watch_is_no_progress
                n2_an_etcd_that_shuts_down_is_not_a_refusal
                n1_the_next_endpoint_is_asked
                n1_etcd_asks_for_a_user_and_the_password_stays_hidden
                n2_an_update_is_not_lost_when_its_future_is_dropped
            }
            hostile {
                n1_no_error_shows_a_credential_that_a_server_repeats
                p1_what_is_not_http_is_an_error
                p1_a_connection_that_ends_early_is_an_error
                p1_a_head_has_a_limit
                p1_a_body_has_a_limit
                p1_an_answer_has_a_time_limit
                p1_another_content_is_an_error
                p1_a_list_of_a_million_is_refused
                p1_a_message_of_a_watch_has_a_limit
            }
            kubernetes {
                n1_kubernetes_lists_slices_and_watches_them
                n1_a_token_goes_only_to_a_server_whose_certificate_is_right
                n2_a_watch_that_breaks_goes_on_at_its_version
                n2_a_list_without_a_version_is_an_error
                n1_the_token_and_the_root_are_read_anew
                n1_a_token_that_a_server_repeats_stays_hidden
            }
            remotefile {
                n1_a_remote_file_is_asked_for_again_and_again
                n1_a_file_that_is_written_twice_in_a_second_is_read_twice
                n1_a_query_and_a_time_of_0_are_refused
                n1_a_credential_that_a_web_server_repeats_stays_hidden
            }
        }
    };
}

/// Long enough for anything that is not stuck, on a machine that is busy with something else too.
const PATIENCE: Duration = Duration::from_secs(120);

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
