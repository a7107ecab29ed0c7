//! The code that the firmware's programs share: the board, its network, a client of plain GETs, and measurements.

#![no_std]

pub mod arguments;
pub mod board;
pub mod client;
pub mod load;
pub mod network;
pub mod samples;
