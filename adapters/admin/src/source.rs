//! Where the variables of a name come from: [`Source`].

use std::sync::Arc;

use hedge_fleet::Inspect;

use crate::parts::{self, Part};
use crate::recorder::Recorded;
use crate::value::Value;
use crate::watch::Watch;

/// Where the variables of a name come from.
#[derive(Clone)]
pub(crate) enum Source {
    /// A channel, and what its watch has recorded.
    Channel(Arc<dyn Inspect>, Option<Watch>),
    Recorder(Arc<Recorded>),
    Variable(Arc<dyn Fn() -> Value + Send + Sync>),
}

impl Source {
    /// Returns the parts of the source's variables, each with what follows the name.
    pub(crate) const fn parts(&self) -> &'static [(&'static str, Part)] {
        match self {
            Self::Channel(..) => &parts::OF_CHANNEL,
            Self::Recorder(_) => parts::OF_RECORDER,
            Self::Variable(_) => &parts::OF_VARIABLE,
        }
    }
}
