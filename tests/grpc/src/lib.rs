//! Tests of gRPC over hedge-net's channel, in `tests/`: tonic's clients, tonic's servers, real sockets.
#![forbid(unsafe_code)]
