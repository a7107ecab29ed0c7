//! How a name becomes a list of servers. [`Naming`] is a source that says which servers there are. [`Schemes`] is the
//! table of the schemes that open such sources. [`Follower`] keeps the latest list of a source.

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
pub use follower::{Follower, News};
pub use line::LineError;
pub use name::{NameError, Named, parse_lines, parse_servers};
pub use schemes::{SchemeError, Schemes};

/// A source of servers: a file, DNS, a registry, or a program's own.
///
/// ```
/// use hedge_fleet::{Naming, NamingError, Update};
///
/// /// Says one list, and then nothing more.
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
    /// Waits until the source has something new to say. The first result should be an [`Update::Reset`].
    ///
    /// Calls are made one after the other, never during another one, and not on the path of a call. The source itself
    /// decides when it looks: a source that is asked again at intervals waits in here.
    ///
    /// This must be cancel-safe: the future may be dropped while it waits, and nothing may be lost by that. It may then
    /// be called again on another runtime.
    ///
    /// # Errors
    /// Why the source could not be read. The last list stays, and this is called again after a pause of 0.5 s to 10 s
    /// ([N2](hedge_core::rules#N2)).
    fn next(&mut self) -> impl Future<Output = Result<Update, NamingError>> + Send;
}

/// What a source says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Update {
    /// This is the whole list. An empty list is an answer too: there are no servers. But a list in which every line was
    /// rejected is a failure of the source, and the last list stays ([N2](hedge_core::rules#N2)).
    Reset {
        /// The servers. One that is named twice is taken in once.
        servers: Vec<Server>,
        /// The lines that are not servers, by their number from 1.
        rejected: Vec<(usize, LineError)>,
    },
    /// The list has changed.
    Change {
        /// The servers that are new. Those that are in the list already stay as they are.
        insert: Vec<Server>,
        /// The servers that are gone. They are removed first, so a server that is in both stays.
        remove: Vec<Server>,
    },
}

impl Update {
    /// The whole list, from text with one server a line: `address tag`. Everything from a `#` to the end of its line is
    /// ignored, and so are blank lines.
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
        let (mut servers, mut rejected) = (Vec::new(), Vec::new());
        for (line, number) in text.lines().zip(1..) {
            match line::parse(line) {
                None => {}
                Some(Ok(server)) => servers.push(server),
                Some(Err(error)) => rejected.push((number, error)),
            }
        }
        Self::Reset { servers, rejected }
    }
}

/// A source of any type.
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
    /// Hides the type of a source.
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
