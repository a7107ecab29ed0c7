//! Counts the instructions of the core's operations against a baseline.
fn main() {}
