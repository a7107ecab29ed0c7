//! The ids of servers, addresses and attempts.

mod address;
mod attempt;
mod server;

pub use address::AddressKey;
pub use attempt::AttemptId;
pub use server::ServerId;
