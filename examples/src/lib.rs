//! What the programs of this package share: the servers that they call.

pub mod replicas;
