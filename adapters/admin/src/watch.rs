//! What is recorded of a channel's calls: [`Watch`].

use std::sync::Arc;

use hedge_fleet::{CallEnd, CallId, Observer};

use crate::histogram::{Histogram, Totals};
use crate::name::Name;
use crate::recorder::micros_of;
use crate::samples::Samples;

/// Records the calls of one channel for its histogram on `/metrics`, and takes samples of them for `/rpcz`.
///
/// [`Registry::watch`](crate::Registry::watch) makes one. Give it to the builder of the channel in one of two ways:
///
/// | to the builder | dropped calls | samples have the call's number | cost of a call that is no sample |
/// |---|---|---|---|
/// | `.on_end({ let watch = watch.clone(); move \|end\| watch.on_end(end) })` | left out | no | two atomic additions |
/// | `.observer(Arc::new(watch.clone()))` | recorded | yes, as in spans and log lines | an allocation, two additions |
///
/// All other variables and metrics of a channel come from counters that a channel has anyway, so they need no watch.
/// A clone of a watch records for the same channel.
#[derive(Clone, Debug)]
pub struct Watch(Arc<Watched>);

#[derive(Debug)]
struct Watched {
    name: Name,
    all: Histogram,
    samples: Arc<Samples>,
}

impl Watch {
    pub(crate) fn new(name: Name, samples: Arc<Samples>) -> Self {
        Self(Arc::new(Watched { name, all: Histogram::new(), samples }))
    }

    /// Records a call that has ended.
    pub fn on_end(&self, end: &CallEnd<'_>) {
        self.record(None, end);
    }

    pub(crate) fn name(&self) -> &Name {
        &self.0.name
    }

    /// Returns the latencies of all calls that were recorded.
    pub(crate) fn totals(&self) -> Totals {
        self.0.all.totals()
    }

    fn record(&self, call: Option<CallId>, end: &CallEnd<'_>) {
        let Watched { name, all, samples } = &*self.0;
        all.record(micros_of(end.elapsed()));
        samples.consider(name, call, end);
    }
}

impl Observer for Watch {
    fn call_ended(&self, call: CallId, end: &CallEnd<'_>) {
        self.record(Some(call), end);
    }
}
