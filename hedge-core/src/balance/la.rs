//! `la`: locality-aware, by throughput and latency (S3).
//!
//! A server's weight is its throughput over its average latency, both of the last 128 calls that it answered. It is lowered
//! while what is in flight has been so for longer than 1.5 averages. An error adds latency to the last answer: its own and
//! a fifth, or the call's timeout in so far as no retry is left that could mend it. A weight is at least 1000, of some
//! million. All that is brpc's arithmetic ("Locality-aware load balancing", `policy/locality_aware_load_balancer`), to the
//! digit. Servers that answer sooner draw more traffic, more throughput then draws more still.
//!
//! Less throughput then draws less still, too: in brpc a server that errors have driven out answers one call a second or
//! none, is weighed by that, and stays out for minutes after it has recovered; one that was cold when it came back may stay
//! out for ever; of servers that are alike one may have most of the traffic; and before the first answers of a channel, a
//! server that never answers draws nearly everything. So a server that has others beside it is held against what those
//! weigh on average, and against the latency that all servers' answers lately had:
//!
//! - Until it has answered, it weighs no more than they do; then, until 128 answers or a second have shown its throughput,
//!   no less.
//! - It weighs at least 7/8 of what they do, times the square of how much longer than they its own last few answers took: a
//!   server that answers as soon as the others has about their traffic, whatever its throughput was. One that takes twice
//!   as long has a quarter of that.
//! - While it has nothing to do, it weighs at least a twentieth of what they do: it is seen when it has become quick.
//! - After three errors in a row it is out: it weighs the least there is. Once it has had no error for 2 s, and none is in
//!   flight, it weighs at least what they do: one call goes and tries. If that one is abandoned, it rests for 2 s more.
//! - An attempt that is abandoned is no answer, but a server takes at least as long as that has waited (L13): so long its
//!   last answers took then, until answers say otherwise. So too where it ends at the call's deadline, which says nothing of
//!   a server among others that are as slow. Where that is twice its average, the weight is lowered by as much. For 2 s it
//!   is not tried while it has nothing to do.
//! - What failed at this client, or by its caller's fault, says nothing (S7).
//!
//! Apart from that it differs from brpc in three things. An error that took no time is one, of a microsecond (brpc ignores
//! it); under no timeout an error counts as under 30 s (brpc: as under -1 ms); an answer takes 268 s at most, with all that
//! errors add to it.
//!
//! Only a call's first attempt takes the next number of the row by which servers are drawn, as under `rr`; its retries and
//! backups are drawn by chance.
//!
//! # Cost
//!
//! [`LaStats`] are 1080 bytes a server. A start is an atomic addition and three loads. A feedback takes a server's own
//! try-lock, so that it never waits long: who finds it taken tries some times more and then drops what it had to say,
//! except that its attempt is no longer in flight. [`LaTree`], where the weights are, is 16 bytes a server: to choose is
//! 2 log n loads, to change a weight log n atomic additions.
//!
//! [`LocalityAware`] joins both: it draws a server by the tree, looks at what that weighs by now and draws again where it is
//! less, and takes in each start and end. With each end it looks at one other server too, each in a round: time passes for
//! those as well that no call comes to.

mod balancer;
mod draws;
mod stats;
mod tree;

pub use balancer::{Drawn, LocalityAware};
pub(super) use draws::Draws;
pub use stats::{LaFailure, LaOthers, LaStats};
pub use tree::{LaNode, LaPick, LaTree};

#[cfg(test)]
#[cfg(feature = "alloc")]
mod tests;
