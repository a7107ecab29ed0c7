//! `la`: locality-aware, by throughput and latency ([S3](crate::rules#S3)).
//!
//! A server's weight is its throughput divided by its average latency, both of the last 128 calls that it answered. It
//! is lowered while its attempts in flight have, on average, waited for longer than 1.5 average latencies. An error
//! adds latency to the last answer: its own latency and a fifth, or the call's timeout in so far as no retry is left
//! that could mend it. A weight is at least 1000; usual ones are some million. All that is brpc's arithmetic
//! ("Locality-aware load balancing", `policy/locality_aware_load_balancer`), to the digit. Servers that answer sooner
//! get more traffic, and more throughput then gets them more still.
//!
//! Less throughput also gets less traffic, which in brpc goes wrong in four ways. A server that errors have driven out
//! answers one call a second or none, is weighed by that, and stays out for minutes after it has recovered. A server
//! that was cold when it came back may stay out for ever. Of equal servers one may get most of the traffic. And before
//! the first answers of a channel, a server that never answers gets nearly all traffic.
//!
//! So a server that is not alone is compared with two things: the average weight of the others, and the recent latency
//! of all servers.
//!
//! - Until it has answered, it weighs no more than the others. Then, until 128 answers or a second have shown its
//!   throughput, it weighs no less.
//! - It weighs at least 7/8 of what the others weigh. If its own last few answers took longer than those of all
//!   servers, this share is multiplied by the square of the latencies' ratio. So a server that answers as soon as the
//!   others has about their traffic, whatever its throughput was, and one that takes twice as long has a quarter of
//!   that.
//! - While it is idle, it weighs at least a twentieth of what the others weigh, so that some calls show when it has
//!   become quick.
//! - After three errors in a row it is out: it has the least weight. Once it has had no error for 2 s and no attempt is
//!   in flight, it weighs at least what the others do, so that one call tries it. If that call is abandoned, the server
//!   rests for 2 s more.
//! - An abandoned attempt is no answer, but the server takes at least as long as its age ([L13](crate::rules#L13)). The
//!   latency of its last few answers is raised to that age, until answers say otherwise. An attempt that ends at the
//!   call's deadline counts in the same way, since the other servers may be as slow. If the raised latency is twice the
//!   average or more, the weight is lowered in proportion. For 2 s after that, the server is not tried while it is
//!   idle.
//! - A failure at this client, or by its caller's fault, says nothing ([S7](crate::rules#S7)).
//!
//! It differs from brpc in three more things. An error that took no time counts as one of a microsecond (brpc ignores
//! it). Without a timeout, an error counts as under one of 30 s (brpc: of -1 ms). An answer takes 268 s at most, with
//! all that errors add to it.
//!
//! Servers are drawn by a sequence of numbers. Only a call's first attempt takes the next number, as it takes a turn
//! under `rr`; retries and backups are drawn by random numbers.
//!
//! # Cost
//!
//! [`LaStats`] take 1080 bytes a server. A start is an atomic addition and three loads. A feedback takes a try-lock of
//! its server, so that it never waits long: if the lock is taken, it tries a few times more and is then dropped. Only
//! the count of attempts in flight is always kept. [`LaTree`], a Fenwick tree of the weights, takes 16 bytes a server:
//! a choice is 2 log n loads, and a change of a weight log n atomic additions.
//!
//! [`LocalityAware`] joins both. It draws a server by the tree, computes the server's present weight, and draws again
//! if that has become too small for the draw. It takes in each start and end. At each end it also computes the weight
//! of one other server, in turn, since weights change with time even where no call comes.

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
