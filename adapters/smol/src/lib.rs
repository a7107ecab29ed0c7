//! Hedged calls on smol
