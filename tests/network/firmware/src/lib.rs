//! What the firmware's programs share: the board, the network on it, a client of plain GETs, and what is measured.

#![no_std]

pub mod arguments;
pub mod board;
pub mod client;
pub mod load;
pub mod network;
pub mod samples;
