//! Hedged calls for hosts: channel, HTTP/1.1 transport and connection pools, generic over a runtime
