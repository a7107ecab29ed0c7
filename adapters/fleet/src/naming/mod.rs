//! Naming: how a name becomes a list of servers. A [`Naming`] is a source of servers. [`Schemes`] is the table of URL
//! schemes; each scheme opens one type of source. A [`Follower`] keeps the latest list of a source.

mod error;
mod follower;
mod line;
mod name;
mod schemes;

use std::fmt;
use std::future::Future;
use std::pin::Pin;

use crate::server::Server;

pub use error::{NamingError, NamingErrorKind};
pub use follower::{Follower, News, PauseRange};
pub use line::LineError;
pub use name::{NameError, ParsedName, parse_lines, parse_servers, shown};
pub use schemes::{SchemeError, Schemes};

/// How many rejected lines an update keeps, at most.
const REJECTED: usize = 1_000;

/// A source of servers. It is, for example, a file, DNS, a registry, or code of the program.
///
/// ```
/// use hedge_fleet::{Naming, NamingError, Update};
///
/// /// Gives one list, which never changes.
/// struct Fixed(Option<&'static str>);
///
/// impl Naming for Fixed {
///     async fn next(&mut self) -> Result<Update, NamingError> {
///         match self.0.take() {
///             Some(lines) => Ok(Update::from_lines(lines)),
///             None => std::future::pending().await,
///         }
///     }
/// }
/// ```
pub trait Naming: Send + 'static {
    /// Waits until the source has a new list or a change of its last list. The first result should be an
    /// [`Update::Reset`].
    ///
    /// This method runs in a background task, not on the path of a call to a server. It is called again only after its
    /// last future has ended or was dropped. The source decides when it looks for changes: if a source polls, it waits
    /// inside this method.
    ///
    /// The future must be cancel-safe: it may be dropped while it waits, and no update may be lost by that. The method
    /// may then be called again on another runtime.
    ///
    /// The caller must poll the future or drop it. Some sources are shared, such as those of hedge-naming. A future that is
    /// kept and not polled may hold the shared source, and then no other user of the source gets a list.
    ///
    /// # Errors
    /// Returns an error if the source could not be read. The last list stays in use, and this method is called again
    /// after a pause of 0.5 s to 10 s ([N2](hedge_core::rules#N2)).
    fn next(&mut self) -> impl Future<Output = Result<Update, NamingError>> + Send;
}

/// A new list from a source, or a change of its last list.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Update {
    /// The whole list. An empty list is valid: it means that there are no servers. But if every line was rejected, the
    /// source has failed, and the last list stays in use ([N2](hedge_core::rules#N2)).
    Reset {
        /// The servers. A server that occurs twice is used once.
        servers: Vec<Server>,
        /// The lines that are not servers. Each has its number, counted from 1, and the reason.
        rejected: Vec<(usize, LineError)>,
    },
    /// A change of the last list.
    Change {
        /// The new servers. If a server is already in the list, it stays unchanged.
        insert: Vec<Server>,
        /// The servers to remove. They are removed before `insert` is added. So if a server is in both, it is in the
        /// new list.
        remove: Vec<Server>,
    },
}

impl Update {
    /// Reads the whole list from text. Each line holds one server: `address tag`. Everything from a `#` to the end of
    /// the line is ignored, and so are blank lines.
    ///
    /// ```
    /// use hedge_fleet::Update;
    ///
    /// let update = Update::from_lines("10.0.0.1:80 canary\n\n# the old one:\n10.0.0.2\n");
    /// let Update::Reset { servers, rejected } = update else { unreachable!() };
    /// assert_eq!(servers[0].to_string(), "10.0.0.1:80 canary");
    /// let (number, error) = &rejected[0];
    /// assert_eq!((*number, error.to_string().as_str()), (4, "\"10.0.0.2\": port missing; write host:port"));
    /// ```
    #[must_use]
    pub fn from_lines(text: &str) -> Self {
        Self::from_bytes(text.as_bytes())
    }

    /// Reads the whole list from the bytes of a text, as [`from_lines`](Self::from_lines) does. A line that is not
    /// valid UTF-8 before its comment is rejected. A byte order mark at the start is ignored. At most the first 1,000
    /// rejected lines are kept. This limits the memory for a large file that is not a list of servers.
    ///
    /// ```
    /// use hedge_fleet::Update;
    ///
    /// let update = Update::from_bytes(b"10.0.0.1:80 # caf\xe9\n10.0.0.2:80 caf\xe9\n");
    /// let Update::Reset { servers, rejected } = update else { unreachable!() };
    /// assert_eq!(servers.len(), 1);
    /// assert_eq!(rejected[0].1.to_string(), "\"10.0.0.2:80 caf\u{fffd}\": not valid UTF-8");
    /// ```
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Self {
        let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
        let (mut servers, mut rejected) = (Vec::new(), Vec::new());
        for (line, number) in bytes.split(|byte| *byte == b'\n').zip(1..) {
            match line::parse(line) {
                None => {}
                Some(Ok(server)) => servers.push(server),
                Some(Err(error)) if rejected.len() < REJECTED => rejected.push((number, error)),
                Some(Err(_)) => {}
            }
        }
        Self::Reset { servers, rejected }
    }
}

/// A source whose type is hidden.
pub struct BoxNaming(Box<dyn AnyNaming>);

type BoxNext<'a> = Pin<Box<dyn Future<Output = Result<Update, NamingError>> + Send + 'a>>;

trait AnyNaming: Send {
    fn next(&mut self) -> BoxNext<'_>;
}

impl<N: Naming> AnyNaming for N {
    fn next(&mut self) -> BoxNext<'_> {
        Box::pin(Naming::next(self))
    }
}

impl BoxNaming {
    /// Wraps a source and hides its type.
    pub fn new(naming: impl Naming) -> Self {
        Self(Box::new(naming))
    }
}

impl Naming for BoxNaming {
    async fn next(&mut self) -> Result<Update, NamingError> {
        self.0.next().await
    }
}

impl fmt::Debug for BoxNaming {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BoxNaming").finish_non_exhaustive()
    }
}
