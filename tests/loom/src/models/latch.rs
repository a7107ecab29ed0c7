//! What the threads share that start, end and join a call of hedge-compose.

use loom::sync::Arc;

use crate::check::{check, together};
use crate::latch::{Ended, Latch};
use crate::sync::{AtomicU32, Ordering};

/// A latch, and what the callback of its call has written.
#[derive(Debug)]
struct Call {
    latch: Latch,
    written: AtomicU32,
}

impl Call {
    fn new() -> Arc<Self> {
        Arc::new(Self { latch: Latch::new(), written: AtomicU32::new(0) })
    }

    /// The callback, and the end of the call.
    fn end(&self) -> Option<Ended> {
        self.written.store(1, Ordering::Relaxed);
        self.latch.open(Ended::CallbackPanicked);
        None
    }

    fn join(&self) -> Option<Ended> {
        let ended = self.latch.wait();
        assert_eq!(self.written.load(Ordering::Relaxed), 1, "what the callback did is visible");
        Some(ended)
    }

    fn look(&self) -> Option<Ended> {
        let ended = self.latch.ended();
        assert!(ended.is_none() || self.written.load(Ordering::Relaxed) == 1, "what the callback did is visible");
        ended
    }
}

const ENDED: Option<Ended> = Some(Ended::CallbackPanicked);

pub(super) fn all() {
    check("latch: a thread that joins is woken, before and after the end", || {
        let ends = together(&Call::new(), [Call::join, Call::end]);
        assert_eq!(ends, [ENDED, None]);
    });
    check("latch: all that join are woken", || {
        let ends = together(&Call::new(), [Call::join, Call::join, Call::end]);
        assert_eq!(ends, [ENDED, ENDED, None]);
    });
    check("latch: one that looks sees nothing or the end, and one that joins is woken", || {
        let call = Call::new();
        let ends = together(&call, [Call::look, Call::join, Call::end]);
        assert!(ends[0].is_none() || ends[0] == ENDED);
        assert_eq!((ends[1], call.latch.ended()), (ENDED, ENDED));
    });
}
