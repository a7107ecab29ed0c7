//! The types that say how attempts and calls ended. All other modules use these types.

mod attempt;
mod code;
mod denial;
mod end;
mod feedback;
mod not_hedged;
mod verdict;

pub use attempt::{Attempt, Kind, State};
#[cfg(feature = "serde")]
pub(crate) use code::GRPC_NAMES;
pub use code::{Code, ErrorKind};
pub use denial::{Denial, Extra};
pub use end::End;
pub use feedback::{Feedback, Finished, SentAttempt};
pub use not_hedged::NotHedged;
pub use verdict::{Judgement, Pushback, Verdict};
