//! How long the parts of a look-up may take: [`Limit`].

use hedge_core::bounded::BoundedSpan;
use hedge_core::time::Duration;

/// How long one look-up in DNS may take, in \[100 ms, 60 s\].
pub type LookupTimeout = BoundedSpan<100, 60_000>;

/// How long a look-up may take. This also gives the times of its parts. By default, a look-up takes at most 10 s.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limit(Duration);

impl Limit {
    pub(super) const fn new(timeout: LookupTimeout) -> Self {
        Self(timeout.get())
    }

    /// The whole look-up.
    pub(super) const fn whole(self) -> Duration {
        self.0
    }

    /// After this time, a look-up waits for no more answers. Then it still has time to make a list of what it has
    /// found. By default 9 s.
    pub(super) fn last_answer(self) -> Duration {
        self.tenths(9)
    }

    /// How long all tries of a request may take together. By default 8 s.
    pub(super) fn all_tries(self) -> Duration {
        self.tenths(8)
    }

    /// How long the look-up of one target of SRV records may take. So targets that do not answer leave time for the others.
    /// By default 4 s.
    pub(super) fn target(self) -> Duration {
        self.tenths(4)
    }

    /// Once one address family is answered, the look-up waits this long for the other one. By default 2 s.
    pub(super) fn other_family(self) -> Duration {
        self.tenths(2)
    }

    fn tenths(self, count: u32) -> Duration {
        self.0 / 10 * count
    }
}

impl Default for Limit {
    fn default() -> Self {
        Self::new(LookupTimeout::of_secs::<10>())
    }
}
