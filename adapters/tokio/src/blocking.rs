//! Calls that block a thread, have a callback, or are started and joined later ([W1](hedge_core::rules#W1)).
//!
#![cfg_attr(feature = "channel", doc = "```no_run")]
#![cfg_attr(not(feature = "channel"), doc = "```ignore")]
//! use hedge_tokio::blocking;
//! use hedge_tokio::hedge_net::http::{Request, RequestBody};
//!
//! let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
//! let channel = blocking::ways(hedge_tokio::builder("10.0.0.1:8001").build()?, runtime.handle().clone());
//! let reply = channel.call(Request::get("/users/7").body(RequestBody::Empty)?).wait()?;
//! println!("{}", reply.text()?);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Calls run as tasks of the runtime whose handle [`ways`] gets, whatever thread starts them. A runtime of one thread
//! runs tasks only while the program drives it. A program without a runtime may use `hedge-smol` with the feature
//! `blocking`, which has a thread of its own.
//!
//! | where | a call that waits, or `join` |
//! |---|---|
//! | in a task of any tokio runtime, or in `block_on` | an error: [`WayError::AsyncContext`], [`JoinError::AsyncContext`] |
//! | in `spawn_blocking` or `block_in_place` | waits |
//! | on a thread outside of the runtime, such as a thread for callbacks | waits |
//! | in a task that is `unconstrained` | waits, since tokio does not tell; do not use this |

use std::future::Future;
use std::pin::Pin;

use hedge_core::drive::Timer;
use hedge_core::time::Instant;
use hedge_fleet::Spawn;
use tokio::time::Sleep;

pub use hedge_compose::{Ended, Handle, HandleId, JoinError, PreparedCall, Started, WayError, Ways, join_all};

use crate::Tokio;

/// Wraps a channel, or any other caller, in [`Ways`]. Its calls run on `runtime`.
pub fn ways<C>(caller: C, runtime: tokio::runtime::Handle) -> Ways<C, OnHandle> {
    Ways::new(caller, OnHandle { tokio: Tokio::new(), runtime })
}

/// One tokio runtime, for code on any thread.
#[derive(Clone, Debug)]
pub struct OnHandle {
    tokio: Tokio,
    runtime: tokio::runtime::Handle,
}

impl Timer for OnHandle {
    type Sleep = Sleep;

    fn now(&self) -> Instant {
        self.tokio.now()
    }

    fn sleep_until(&self, at: Instant) -> Sleep {
        let _entered = self.runtime.enter();
        self.tokio.sleep_until(at)
    }

    fn reset(&self, sleep: Pin<&mut Sleep>, at: Instant) {
        self.tokio.reset(sleep, at);
    }
}

impl Spawn for OnHandle {
    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.runtime.spawn(task);
    }

    fn may_block() -> bool {
        Tokio::may_block()
    }
}
