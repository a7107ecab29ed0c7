//! Replays tables of cases against the core
