//! hedge-core's, but for the error that its limits alone may make.

#[path = "../../../hedge-core/src/policy/error.rs"]
mod error;

pub use error::LimitError;
pub use hedge_core::policy::*;
