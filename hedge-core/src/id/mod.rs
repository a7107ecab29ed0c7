//! What servers, addresses and attempts are told apart by.

mod address;
mod attempt;
mod server;

pub use address::AddressKey;
pub use attempt::AttemptId;
pub use server::ServerId;
