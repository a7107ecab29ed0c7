//! What a server does wrong: [`Fault`].

use clap::ValueEnum;

/// One thing that a server does wrong. Apart from that it answers as the others do.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum, Debug)]
pub(crate) enum Fault {
    /// Nothing: the line to compare the others with.
    None,
    /// It accepts connections, reads what comes, and never answers.
    Hung,
    /// It answers one request a connection, and resets the connection as soon as the next request comes.
    Resetting,
    /// It closes each connection half a millisecond after the first answer on it.
    Closing,
    /// It answers an upload as soon as it has the head, reads no more of it, and holds the connection open.
    Early,
    /// It answers an upload as soon as it has the head, and closes the connection at once: what is unread makes that a reset.
    EarlyClosing,
    /// Every other request gets no answer.
    Swallowing,
    /// It takes 60 ms for an answer.
    Slow,
}

impl Fault {
    /// All of them.
    pub(crate) const ALL: [Self; 8] = [
        Self::None,
        Self::Hung,
        Self::Resetting,
        Self::Closing,
        Self::Early,
        Self::EarlyClosing,
        Self::Swallowing,
        Self::Slow,
    ];

    /// As on the command line.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Hung => "hung",
            Self::Resetting => "resetting",
            Self::Closing => "closing",
            Self::Early => "early",
            Self::EarlyClosing => "early-closing",
            Self::Swallowing => "swallowing",
            Self::Slow => "slow",
        }
    }

    /// Whether its calls are uploads; else they are GETs.
    pub(crate) const fn takes_uploads(self) -> bool {
        matches!(self, Self::Early | Self::EarlyClosing)
    }

    /// Whether it leaves requests without an answer, so that nothing but time tells.
    pub(crate) const fn is_silent(self) -> bool {
        matches!(self, Self::Hung | Self::Swallowing)
    }

    /// Whether an answer takes longer than a backup's delay, or never comes.
    pub(crate) fn takes_time(self) -> bool {
        self.is_silent() || self == Self::Slow
    }

    /// Whether connections break that have been used before, and others do not.
    pub(crate) const fn breaks_reused_connections(self) -> bool {
        matches!(self, Self::Resetting | Self::Closing)
    }

    /// After how many of so many calls it begins. `Slow` is a server that was as fast as the others and becomes slow; all
    /// others are bad from the start.
    pub(crate) const fn begins_at(self, calls: u64) -> u64 {
        if matches!(self, Self::Slow) { calls / 10 } else { 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_the_command_line() {
        for fault in Fault::ALL {
            assert_eq!(Fault::from_str(fault.name(), false), Ok(fault));
        }
        assert_eq!(Fault::value_variants(), Fault::ALL);
    }
}
