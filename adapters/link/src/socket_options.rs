//! The options of sockets ([C8](hedge_core::rules#C8)): [`SocketOptions`].

use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

/// The options of the sockets of a channel ([C8](hedge_core::rules#C8)). The sizes of the buffers apply to all sockets.
/// The other options apply only to TCP.
///
/// ```
/// use std::time::Duration;
/// use hedge_link::{BufferSize, KeepAlive, SocketOptions};
///
/// let keep_alive = KeepAlive::after(Duration::from_secs(60))?.every(Duration::from_secs(10))?.probes(3)?;
/// let options = SocketOptions::new().keep_alive(keep_alive).receive_buffer(BufferSize::new(1 << 20)?);
/// # let error = BufferSize::new(0).unwrap_err();
/// # assert_eq!(error.to_string(), "buffer size 0 B: must be in [1024 B, 1073741824 B]");
/// # Ok::<(), hedge_link::SocketOptionError>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct SocketOptions {
    pub(crate) no_delay: bool,
    pub(crate) keep_alive: Option<KeepAlive>,
    pub(crate) send_buffer: Option<BufferSize>,
    pub(crate) receive_buffer: Option<BufferSize>,
    pub(crate) local_address: Option<IpAddr>,
    pub(crate) user_timeout: Option<UserTimeout>,
}

impl SocketOptions {
    /// Makes the default options: no-delay is on, and all other options have the defaults of the operating system.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            no_delay: true,
            keep_alive: None,
            send_buffer: None,
            receive_buffer: None,
            local_address: None,
            user_timeout: None,
        }
    }

    /// Sets whether small segments are sent at once (`TCP_NODELAY`). Default: true.
    #[must_use]
    pub const fn no_delay(mut self, on: bool) -> Self {
        self.no_delay = on;
        self
    }

    /// Turns on probes of idle connections (`SO_KEEPALIVE`). Default: off.
    #[must_use]
    pub const fn keep_alive(mut self, keep_alive: KeepAlive) -> Self {
        self.keep_alive = Some(keep_alive);
        self
    }

    /// Sets the size of the kernel's buffer for data to send (`SO_SNDBUF`). Default: the kernel adjusts the size.
    #[must_use]
    pub const fn send_buffer(mut self, size: BufferSize) -> Self {
        self.send_buffer = Some(size);
        self
    }

    /// Sets the size of the kernel's buffer for received data (`SO_RCVBUF`). Default: the kernel adjusts the size.
    #[must_use]
    pub const fn receive_buffer(mut self, size: BufferSize) -> Self {
        self.receive_buffer = Some(size);
        self
    }

    /// Sets the local IP address of connections. Then only the server's addresses of the same family are used. Default:
    /// the kernel chooses the local address.
    #[must_use]
    pub const fn local_address(mut self, address: IpAddr) -> Self {
        self.local_address = Some(address);
        self
    }

    /// Sets how long sent data may stay unacknowledged before the connection breaks (`TCP_USER_TIMEOUT`). Only Linux
    /// and Android have this option. On other systems, connecting fails with
    /// [`Unsupported`](std::io::ErrorKind::Unsupported). Default: the limit of the kernel, which is about 15 minutes.
    #[must_use]
    pub const fn user_timeout(mut self, timeout: UserTimeout) -> Self {
        self.user_timeout = Some(timeout);
        self
    }
}

impl Default for SocketOptions {
    fn default() -> Self {
        Self::new()
    }
}

/// The times at which an idle connection is probed, and the number of probes after which it counts as broken.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct KeepAlive {
    pub(crate) time: Duration,
    pub(crate) interval: Option<Duration>,
    pub(crate) probes: Option<u32>,
}

impl KeepAlive {
    /// Makes options with which a connection is probed after it has been idle for `time`. The time must be in \[1 s,
    /// 32767 s\]. Fractions of a second are cut off.
    ///
    /// # Errors
    /// Returns an error if the time is out of its range.
    pub const fn after(time: Duration) -> Result<Self, SocketOptionError> {
        match seconds("keep-alive time", time) {
            Ok(time) => Ok(Self { time, interval: None, probes: None }),
            Err(error) => Err(error),
        }
    }

    /// Sets the time between an unanswered probe and the next probe. The time must be in \[1 s, 32767 s\]. Fractions of
    /// a second are cut off. Default: the interval of the kernel, which is 75 s on Linux.
    ///
    /// # Errors
    /// Returns an error if the interval is out of its range.
    pub const fn every(mut self, interval: Duration) -> Result<Self, SocketOptionError> {
        match seconds("keep-alive interval", interval) {
            Ok(interval) => self.interval = Some(interval),
            Err(error) => return Err(error),
        }
        Ok(self)
    }

    /// Sets the number of unanswered probes after which the connection counts as broken. The number must be in \[1,
    /// 127\]. Default: the number of the kernel, which is 9 on Linux.
    ///
    /// # Errors
    /// Returns an error if the number is out of its range.
    pub const fn probes(mut self, probes: u32) -> Result<Self, SocketOptionError> {
        match checked("keep-alive probes", probes as u64, (1, 127), "") {
            Ok(()) => self.probes = Some(probes),
            Err(error) => return Err(error),
        }
        Ok(self)
    }
}

/// The size of a kernel's buffer, in bytes. The kernel may use a larger or a smaller buffer.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct BufferSize(u32);

impl BufferSize {
    /// Makes a size of this many bytes. The size must be in \[1 KiB, 1 GiB\].
    ///
    /// # Errors
    /// Returns an error if the size is out of its range.
    pub const fn new(bytes: u32) -> Result<Self, SocketOptionError> {
        match checked("buffer size", bytes as u64, (1 << 10, 1 << 30), " B") {
            Ok(()) => Ok(Self(bytes)),
            Err(error) => Err(error),
        }
    }

    pub(crate) const fn bytes(self) -> usize {
        self.0 as usize
    }
}

/// The time for which sent data may stay unacknowledged.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct UserTimeout(Duration);

impl UserTimeout {
    /// Makes a timeout. The time must be in \[1 ms, 24 h\].
    ///
    /// # Errors
    /// Returns an error if the time is out of its range.
    pub const fn new(time: Duration) -> Result<Self, SocketOptionError> {
        let millis = time.as_secs().saturating_mul(1000).saturating_add(time.subsec_millis() as u64);
        match checked("user timeout", millis, (1, 24 * 3600 * 1000), " ms") {
            Ok(()) => Ok(Self(time)),
            Err(error) => Err(error),
        }
    }

    #[cfg(any(target_os = "linux", target_os = "android"))]
    pub(crate) const fn time(self) -> Duration {
        self.0
    }
}

const fn seconds(option: &'static str, time: Duration) -> Result<Duration, SocketOptionError> {
    match checked(option, time.as_secs(), (1, 32_767), " s") {
        Ok(()) => Ok(Duration::from_secs(time.as_secs())),
        Err(error) => Err(error),
    }
}

const fn checked(
    option: &'static str,
    value: u64,
    (least, most): (u64, u64),
    unit: &'static str,
) -> Result<(), SocketOptionError> {
    if value < least || value > most {
        return Err(SocketOptionError { option, value, least, most, unit });
    }
    Ok(())
}

/// The error of a socket option whose value is out of its range.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct SocketOptionError {
    /// The name of the option.
    pub option: &'static str,
    /// The value that was given.
    pub value: u64,
    /// The smallest valid value.
    pub least: u64,
    /// The largest valid value.
    pub most: u64,
    unit: &'static str,
}

impl fmt::Display for SocketOptionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { option, value, least, most, unit } = self;
        write!(f, "{option} {value}{unit}: must be in [{least}{unit}, {most}{unit}]")
    }
}

impl std::error::Error for SocketOptionError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn c8_an_option_out_of_its_range_says_the_range() {
        let after = |seconds| KeepAlive::after(Duration::from_secs(seconds));
        assert!(after(1).is_ok() && after(32_767).is_ok());
        for (error, expected) in [
            (after(0).unwrap_err(), "keep-alive time 0 s: must be in [1 s, 32767 s]"),
            (after(1).unwrap().every(Duration::MAX).unwrap_err(), "must be in [1 s, 32767 s]"),
            (after(1).unwrap().probes(128).unwrap_err(), "keep-alive probes 128: must be in [1, 127]"),
            (BufferSize::new(u32::MAX).unwrap_err(), "must be in [1024 B, 1073741824 B]"),
            (UserTimeout::new(Duration::from_micros(999)).unwrap_err(), "user timeout 0 ms: must be in [1 ms"),
        ] {
            assert!(error.to_string().contains(expected), "{error}");
        }
    }
}
