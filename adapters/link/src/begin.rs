//! Opens a socket and begins to connect it: [`begin`].

use std::io;
use std::net::{SocketAddr, TcpStream};
#[cfg(unix)]
use std::os::unix::net::UnixStream;
#[cfg(unix)]
use std::path::Path;

use socket2::{Domain, Protocol, Socket, TcpKeepalive, Type};

use crate::endpoint::Endpoint;
use crate::socket_options::{KeepAlive, SocketOptions};

/// A socket that is being connected. The socket is non-blocking. It becomes writable when it is connected, or when
/// connecting has failed.
#[derive(Debug)]
pub enum Connecting {
    /// A TCP socket. When the socket is writable, [`TcpStream::take_error`] returns the error if connecting has failed.
    Tcp(TcpStream),
    /// A Unix socket. It is already connected.
    #[cfg(unix)]
    Unix(UnixStream),
}

/// Opens a socket, sets its options and begins to connect it. Implementations of [`Dial::dial`](crate::Dial::dial) use
/// this function. It does not block.
///
/// # Errors
/// Returns the error of the operating system. If the server of a Unix socket has no room for another connection,
/// returns [`io::ErrorKind::ConnectionRefused`] at once.
pub fn begin(to: &Endpoint, options: &SocketOptions) -> io::Result<Connecting> {
    match to {
        Endpoint::Tcp(address) => tcp(*address, options).map(Connecting::Tcp),
        #[cfg(unix)]
        Endpoint::Unix(path) => unix(path, options).map(Connecting::Unix),
        #[cfg(not(unix))]
        Endpoint::Unix(_) => Err(io::Error::new(io::ErrorKind::Unsupported, "this system has no unix sockets")),
    }
}

fn tcp(address: SocketAddr, options: &SocketOptions) -> io::Result<TcpStream> {
    let socket = open(Domain::for_address(address), Some(Protocol::TCP), options)?;
    socket.set_tcp_nodelay(options.no_delay)?;
    if let Some(keep_alive) = &options.keep_alive {
        socket.set_tcp_keepalive(&parameters(keep_alive))?;
    }
    #[cfg(any(target_os = "linux", target_os = "android"))]
    if let Some(timeout) = options.user_timeout {
        socket.set_tcp_user_timeout(Some(timeout.time()))?;
    }
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    if options.user_timeout.is_some() {
        return Err(io::Error::new(io::ErrorKind::Unsupported, "this system has no tcp user timeout"));
    }
    if let Some(local) = options.local_address {
        socket.bind(&SocketAddr::new(local, 0).into())?;
    }
    match socket.connect(&address.into()) {
        Err(error) if !is_in_progress(&error) => Err(error),
        Ok(()) | Err(_) => Ok(socket.into()),
    }
}

#[cfg(unix)]
fn unix(path: &Path, options: &SocketOptions) -> io::Result<UnixStream> {
    let socket = open(Domain::UNIX, None, options)?;
    match socket.connect(&socket2::SockAddr::unix(path)?) {
        // The queue of connections that the server has not accepted yet is full.
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Err(io::ErrorKind::ConnectionRefused.into()),
        Err(error) => Err(error),
        Ok(()) => Ok(socket.into()),
    }
}

fn open(domain: Domain, protocol: Option<Protocol>, options: &SocketOptions) -> io::Result<Socket> {
    let socket = Socket::new(domain, Type::STREAM, protocol)?;
    socket.set_nonblocking(true)?;
    // The sizes of the buffers are set before the socket connects, since client and server agree on TCP's window scale
    // when they connect.
    if let Some(size) = options.send_buffer {
        socket.set_send_buffer_size(size.bytes())?;
    }
    if let Some(size) = options.receive_buffer {
        socket.set_recv_buffer_size(size.bytes())?;
    }
    Ok(socket)
}

fn parameters(keep_alive: &KeepAlive) -> TcpKeepalive {
    let mut parameters = TcpKeepalive::new().with_time(keep_alive.time);
    if let Some(interval) = keep_alive.interval {
        parameters = parameters.with_interval(interval);
    }
    if let Some(probes) = keep_alive.probes {
        parameters = parameters.with_retries(probes);
    }
    parameters
}

/// Returns whether the error of `connect` means that the socket is still being connected.
fn is_in_progress(error: &io::Error) -> bool {
    #[cfg(unix)]
    if error.raw_os_error() == Some(libc::EINPROGRESS) {
        return true;
    }
    // Windows returns `WouldBlock`.
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::net::{IpAddr, Ipv4Addr, TcpListener};
    use std::os::unix::net::UnixListener;
    use std::sync::Arc;
    use std::time::Duration;

    use socket2::SockRef;

    use super::*;
    use crate::socket_options::{BufferSize, UserTimeout};

    #[test]
    fn c8_options_are_set_on_the_socket() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let there = Endpoint::Tcp(listener.local_addr().unwrap());
        let second = Duration::from_secs(1);
        let keep_alive = KeepAlive::after(7 * second).unwrap().every(2 * second).unwrap().probes(3).unwrap();
        let local = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 9));
        let options = SocketOptions::new()
            .no_delay(false)
            .keep_alive(keep_alive)
            .send_buffer(BufferSize::new(20_000).unwrap())
            .receive_buffer(BufferSize::new(30_000).unwrap())
            .local_address(local)
            .user_timeout(UserTimeout::new(5 * second).unwrap());
        let Connecting::Tcp(stream) = begin(&there, &options).unwrap() else { panic!("not tcp") };
        let socket = SockRef::from(&stream);
        assert!(!socket.tcp_nodelay().unwrap() && socket.keepalive().unwrap());
        assert_eq!(socket.tcp_keepalive_time().unwrap(), 7 * second);
        assert_eq!(
            (socket.tcp_keepalive_interval().unwrap(), socket.tcp_keepalive_retries().unwrap()),
            (2 * second, 3)
        );
        // Linux doubles the sizes, since it also needs room for data of its own.
        assert_eq!((socket.send_buffer_size().unwrap(), socket.recv_buffer_size().unwrap()), (40_000, 60_000));
        assert_eq!(socket.tcp_user_timeout().unwrap(), Some(5 * second));
        assert_eq!(listener.accept().unwrap().1.ip(), local);

        let Connecting::Tcp(stream) = begin(&there, &SocketOptions::new()).unwrap() else { panic!("not tcp") };
        assert!(stream.nodelay().unwrap() && !SockRef::from(&stream).keepalive().unwrap());
    }

    #[test]
    fn n1_a_unix_socket_refuses_at_once_what_its_server_has_no_room_for() {
        let path = std::env::temp_dir().join(format!("hedge-link-{}.sock", std::process::id()));
        let _ = std::fs::remove_file(&path);
        let there = Endpoint::Unix(Arc::from(path.as_path()));
        let missing = begin(&there, &SocketOptions::new()).unwrap_err();
        assert_eq!(missing.kind(), io::ErrorKind::NotFound);
        let listener = UnixListener::bind(&path).unwrap();
        SockRef::from(&listener).listen(1).unwrap();
        let mut open = Vec::new();
        let error = loop {
            match begin(&there, &SocketOptions::new()) {
                Ok(stream) => open.push(stream),
                Err(error) => break error,
            }
        };
        assert!(!open.is_empty());
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
        std::fs::remove_file(&path).unwrap();
    }
}
