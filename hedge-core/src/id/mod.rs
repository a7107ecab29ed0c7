//! The ids of servers, addresses and attempts, and the key of a call.

mod address;
mod attempt;
mod key;
mod server;

pub use address::AddressKey;
pub use attempt::AttemptId;
pub use key::IdempotencyKey;
pub use server::ServerId;
