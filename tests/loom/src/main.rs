//! Every interleaving of two or three threads on what the threads of hedge-core and hedge-compose share, as far as loom can
//! tell them apart and with at most `LOOM_MAX_PREEMPTIONS` preemptions.
//!
//! The sources are those of the crates, included by path and built over [`atomic`], which is loom's; what they need besides is
//! re-exported from hedge-core. loom takes sequentially consistent operations for acquire and release: that two threads
//! which count in different places do not both miss the other is not shown here.

#[path = "../../../hedge-core/src/policy/allowance.rs"]
mod allowance;
mod atomic;
#[expect(dead_code, unused_imports, reason = "hedge-core's, not all of which is used here")]
#[path = "../../../hedge-core/src/balance/mod.rs"]
mod balance;
#[expect(dead_code, reason = "hedge-core's, not all of which is used here")]
#[path = "../../../hedge-core/src/bounded/mod.rs"]
mod bounded;
mod check;
#[expect(dead_code, unused_imports, reason = "hedge-core's, not all of which is used here")]
#[path = "../../../hedge-core/src/health/mod.rs"]
mod health;
#[path = "../../../adapters/compose/src/ways/latch.rs"]
mod latch;
#[expect(dead_code, unused_imports, reason = "hedge-core's, not all of which is used here")]
#[path = "../../../hedge-core/src/latency/mod.rs"]
mod latency;
#[expect(dead_code, unused_imports, reason = "hedge-core's, not all of which is used here")]
#[path = "../../../hedge-core/src/limit/mod.rs"]
mod limit;
mod models;
#[expect(dead_code, reason = "hedge-core's, not all of which is used here")]
#[path = "../../../hedge-core/src/random.rs"]
mod random;
mod sync;
#[path = "../../../hedge-core/src/window/mod.rs"]
mod window;

use hedge_core::{id, outcome, policy, time};

fn main() {
    models::all();
}
