//! Hedged calls as a tower layer: around one service or a set of them.
