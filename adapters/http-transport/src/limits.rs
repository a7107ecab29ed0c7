//! The limits of the head of an answer: [`HeadLimits`].

use hedge_core::bounded::Bounded;
use hedge_link::ConnectionKey;
use hedge_wire::http1::Follower;
use hyper::client::conn::http1;

/// hyper's buffer has at least 8 KiB.
const LEAST_HEAD: u32 = 8 * 1024;
const _: () = assert!(Follower::MOST_HEADERS == 1_024, "as many as `HeaderCount` allows");

/// The largest head of an answer in bytes, in \[8 KiB, 1 MiB\].
pub type HeadBytes = Bounded<8_192, 1_048_576>;
/// How many header fields an answer may have, in \[1, 1024\].
pub type HeaderCount = Bounded<1, 1_024>;

/// The limits of heads on a transport's connections, and on those of its health checks.
#[derive(Clone, Copy, Debug)]
pub(super) struct HeadLimits {
    max_head: usize,
    max_headers: usize,
}

impl HeadLimits {
    pub(super) const DEFAULT: Self =
        Self { max_head: Follower::DEFAULT_MAX_HEAD, max_headers: Follower::DEFAULT_MAX_HEADERS };

    pub(super) const fn set_max_head(&mut self, bytes: HeadBytes) {
        self.max_head = bytes.get() as usize;
    }

    pub(super) const fn set_max_headers(&mut self, fields: HeaderCount) {
        self.max_headers = fields.get() as usize;
    }

    #[cfg(feature = "http2")]
    pub(super) const fn max_headers(self) -> usize {
        self.max_headers
    }

    /// Adds these limits to what channels that share connections have in common: a connection enforces them.
    pub(super) fn add_to(self, key: ConnectionKey) -> ConnectionKey {
        let limits = [("max_head", self.max_head), ("max_headers", self.max_headers)];
        limits.into_iter().fold(key, |key, (name, limit)| key.with(name, limit as u64))
    }

    /// A follower that enforces these limits on a connection's answers.
    pub(super) fn follower(self) -> Follower {
        Follower::with_limits(self.max_head, self.max_headers)
    }

    /// The limit of a head over HTTP/2, which counts 32 bytes for each field besides its text (RFC 9113, 6.5.2).
    #[cfg(feature = "http2")]
    pub(super) fn max_header_list(self) -> u32 {
        u32::try_from(self.max_head).unwrap_or(u32::MAX)
    }

    /// hyper's builder, with the same limits.
    pub(super) fn hyper(self) -> http1::Builder {
        let mut builder = http1::Builder::new();
        // hyper panics at less than 8 KiB.
        builder.max_buf_size(self.max_head.max(LEAST_HEAD as usize));
        // hyper has room for the default number on the stack. Setting any number would make it allocate.
        if self.max_headers != Follower::DEFAULT_MAX_HEADERS {
            builder.max_headers(self.max_headers);
        }
        builder
    }
}
