//! Channels of channels, and ways to call, over any [`Caller`](hedge_fleet::Caller).
