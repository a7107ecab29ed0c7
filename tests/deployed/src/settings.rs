//! What one run does: [`Settings`].

use clap::ValueEnum;

use crate::protocol::Protocol;

/// What one run does.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Settings {
    pub(crate) on: On,
    pub(crate) protocol: Protocol,
    pub(crate) calls: u64,
    /// How many calls are cancelled, in a run that does so.
    pub(crate) cancel: u64,
    /// How many calls are made over sources whose lists change, in a run that does so.
    pub(crate) churn: u64,
    /// How many calls a channel of channels makes, in a run that does so.
    pub(crate) combined: u64,
    /// How many calls are made at a time.
    pub(crate) callers: u64,
    pub(crate) seed: u64,
}

/// A runtime.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum, Debug)]
pub(crate) enum On {
    Tokio,
    Smol,
}

impl On {
    pub(crate) const ALL: [Self; 2] = [Self::Tokio, Self::Smol];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Tokio => "tokio",
            Self::Smol => "smol",
        }
    }
}
