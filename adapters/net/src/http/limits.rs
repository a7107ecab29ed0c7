//! The limits of the head of an answer, [`HeadLimits`], and the error of a limit that is out of its range,
//! [`HttpOptionError`].

use std::ops::RangeInclusive;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::{error, fmt};

use hedge_wire::http1::Follower;
use hyper::client::conn::http1;

/// hyper's buffer has at least 8 KiB.
const MAX_HEAD: RangeInclusive<usize> = 8 * 1024..=1024 * 1024;
const MAX_HEADERS: RangeInclusive<usize> = 1..=Follower::MOST_HEADERS;

/// The limits of heads on a transport's connections. The transport's health checks share them, because a builder may
/// set them after it has made a check. They do not change once the channel is built.
#[derive(Debug)]
pub(super) struct HeadLimits {
    max_head: AtomicUsize,
    max_headers: AtomicUsize,
}

impl HeadLimits {
    pub(super) const fn new() -> Self {
        Self {
            max_head: AtomicUsize::new(Follower::DEFAULT_MAX_HEAD),
            max_headers: AtomicUsize::new(Follower::DEFAULT_MAX_HEADERS),
        }
    }

    pub(super) fn set_max_head(&self, bytes: usize) {
        self.max_head.store(bytes, Ordering::Relaxed);
    }

    pub(super) fn set_max_headers(&self, fields: usize) {
        self.max_headers.store(fields, Ordering::Relaxed);
    }

    fn max_head(&self) -> usize {
        self.max_head.load(Ordering::Relaxed)
    }

    fn max_headers(&self) -> usize {
        self.max_headers.load(Ordering::Relaxed)
    }

    /// # Errors
    /// The first limit that is out of its range.
    pub(super) fn validate(&self) -> Result<(), HttpOptionError> {
        for (option, value, range) in
            [("max_head", self.max_head(), MAX_HEAD), ("max_headers", self.max_headers(), MAX_HEADERS)]
        {
            if !range.contains(&value) {
                return Err(HttpOptionError { option, value, least: *range.start(), most: *range.end() });
            }
        }
        Ok(())
    }

    /// A follower that enforces these limits on a connection's answers.
    pub(super) fn follower(&self) -> Follower {
        Follower::with_limits(self.max_head(), self.max_headers())
    }

    /// hyper's builder, with the same limits.
    pub(super) fn hyper(&self) -> http1::Builder {
        let mut builder = http1::Builder::new();
        // hyper panics at less than this.
        builder.max_buf_size(self.max_head().max(*MAX_HEAD.start()));
        // hyper has room for the default number on the stack. Setting any number would make it allocate.
        if self.max_headers() != Follower::DEFAULT_MAX_HEADERS {
            builder.max_headers(self.max_headers());
        }
        builder
    }
}

/// An option of the HTTP transport that is out of its range.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct HttpOptionError {
    /// The name of the option.
    pub option: &'static str,
    /// The value that was set.
    pub value: usize,
    /// The smallest valid value.
    pub least: usize,
    /// The largest valid value.
    pub most: usize,
}

impl fmt::Display for HttpOptionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { option, value, least, most } = self;
        write!(f, "{option} {value}: must be in [{least}, {most}]")
    }
}

impl error::Error for HttpOptionError {}
