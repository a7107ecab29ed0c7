//! The balancer `la` (locality-aware). It chooses servers by throughput and latency ([S3](crate::rules#S3)).
//!
//! A server's weight is its throughput divided by its average latency. Both are computed from the last 128 calls that
//! the server answered. If the attempts in flight have waited for longer than 1.5 average latencies (on average), the
//! weight is lowered. An error adds latency to the last answer. While the call has all its retries left, the error adds
//! 1.2 times its own latency. Once no retry is left, it adds the call's timeout. In between, it adds a mean of both. A
//! weight is at least 1000; usual weights are in the millions. All this is exactly brpc's arithmetic ("Locality-aware
//! load balancing", `policy/locality_aware_load_balancer`). Servers that answer faster get more traffic. Their
//! throughput then grows, which gets them even more traffic.
//!
//! The opposite also holds: a server with less throughput gets less traffic. In brpc this goes wrong in four ways:
//!
//! - After errors, a server gets one call a second or none. Its weight depends on its throughput, so the weight stays
//!   low for minutes after the server has recovered.
//! - A server that is slow at first after it came back may get no calls for ever.
//! - Of equal servers, one may get most of the traffic.
//! - Before a channel's first answers, a server that never answers gets nearly all traffic.
//!
//! Therefore `la` here compares a server with two things, unless the server is the only one: with the average weight of
//! the other servers, and with the recent latency of all servers. This gives the following rules:
//!
//! - Until a server has answered, it weighs no more than the others. After that, it weighs no less than the others
//!   until its throughput is known, which takes 128 answers or a second.
//! - A server weighs at least 7/8 of what the others weigh. If the server's last few answers took longer than the
//!   answers of all servers, this share is multiplied by the square of the ratio of the latencies. So a server that
//!   answers as fast as the others has about the same traffic as they have, whatever its throughput was. A server that
//!   takes twice as long has a quarter of that traffic.
//! - While a server is idle, it weighs at least a twentieth of what the others weigh. So some calls go to the server
//!   and show whether it has become fast.
//! - After three errors in a row a server is out: it has the smallest weight. Once the server has had no error for 2
//!   s and no attempt is in flight, it weighs at least as much as the others, so that one call tries it. If that call
//!   is abandoned, the server rests for 2 s more.
//! - An abandoned attempt is not an answer, but it shows that the server takes at least as long as the attempt's age
//!   ([L13](crate::rules#L13)). The recent latency of the server is raised to that age, until answers lower it. An
//!   attempt that ends at the call's deadline counts in the same way, since the other servers may be as slow. If the
//!   raised latency is at least twice the average, the weight is lowered in proportion. For 2 s after an abandoned
//!   attempt, the server does not get the smallest weight of an idle server (a twentieth of what the others weigh).
//! - A failure at this client, or by its caller's fault, changes nothing ([S7](crate::rules#S7)).
//!
//! There are three more differences from brpc:
//!
//! - An error that took no time counts as an error that took one microsecond. brpc ignores such an error.
//! - In a call without a timeout, an error counts as if the timeout were 30 s. brpc uses a timeout of -1 ms.
//! - The latency of an answer, together with all latency that errors add to it, counts as at most 268 s.
//!
//! Servers are drawn by a sequence of numbers. Only a call's first attempt takes the next number of the sequence, as it
//! takes a turn under `rr`. Retries and backups are drawn by random numbers.
//!
//! # Cost
//!
//! [`LaStats`] take 1080 bytes for each server. In these statistics, the start of an attempt is an atomic addition and
//! up to four loads. A feedback tries to lock its server's statistics. If another thread holds the lock at each of 64
//! tries, the feedback is dropped, so that no thread waits for long. Only the count of attempts in flight is never
//! dropped. [`LaTree`], a Fenwick tree of the weights, takes 16 bytes for each server. A choice is 2 log n loads, and a
//! change of a weight is log n atomic additions.
//!
//! [`LocalityAware`] combines [`LaStats`] and [`LaTree`]. It draws a server by the tree, computes the server's present
//! weight, and draws again if that weight has become too small for the draw. It records each start and end of an
//! attempt. At each end it also computes the weight of one other server, in turn, since weights change with time even
//! without calls.

mod balancer;
mod draws;
mod stats;
mod tree;

pub use balancer::{LaTicket, LocalityAware};
pub(super) use draws::WeightedDraws;
pub use stats::{LaFailure, LaOthers, LaStats};
pub use tree::{LaNode, LaPick, LaTree};

#[cfg(test)]
#[cfg(feature = "alloc")]
mod tests;
