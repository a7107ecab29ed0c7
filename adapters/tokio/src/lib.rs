//! Hedged calls on tokio
