//! A client of plain GETs over hedge's codec: the client that a program has without hedge.

use core::net::SocketAddrV4;

use embassy_net::tcp::TcpSocket;
use embassy_time::{Duration, TimeoutError, with_timeout};
use embedded_io_async::{Read, Write};
use hedge_wire::http1::{DecodeError, EncodeError, Progress, Receiver, Request};

/// How long a GET may take.
pub const TIMEOUT: Duration = Duration::from_secs(1);
/// The size of the largest response, with its head.
pub const RESPONSE: usize = 512;

/// Why there is no response.
#[derive(Clone, Copy, PartialEq, Eq, Debug, defmt::Format)]
pub enum Failure {
    /// The connection could not be made, or it broke.
    Connection,
    /// The request is too long.
    Request,
    /// The response is invalid or too long.
    Response,
    /// The GET took too long.
    Timeout,
}

/// A client that has a socket and a buffer, and makes one call after another.
#[allow(missing_debug_implementations, reason = "a socket has none")]
pub struct Client {
    socket: TcpSocket<'static>,
    buffer: [u8; RESPONSE],
}

impl Client {
    /// A client over `socket`.
    pub const fn new(socket: TcpSocket<'static>) -> Self {
        Self { socket, buffer: [0; RESPONSE] }
    }

    /// Gets `target` from `server` over a new connection, and returns the result of `read` for the status and the body.
    ///
    /// # Errors
    /// See [`Failure`].
    pub async fn get<R>(
        &mut self,
        server: SocketAddrV4,
        target: &str,
        read: impl FnOnce(u16, &[u8]) -> R,
    ) -> Result<R, Failure> {
        let Self { socket, buffer } = self;
        let result = with_timeout(TIMEOUT, async {
            socket.connect(server).await.map_err(|_| Failure::Connection)?;
            get(socket, target, buffer, read).await
        });
        let result = result.await;
        // The reset tells the server that the connection has ended. A socket that is only dropped does not, and the server
        // would send its last packets again and again.
        socket.abort();
        let _ = socket.flush().await;
        result?
    }
}

impl From<EncodeError> for Failure {
    fn from(_: EncodeError) -> Self {
        Self::Request
    }
}

impl From<DecodeError> for Failure {
    fn from(_: DecodeError) -> Self {
        Self::Response
    }
}

impl From<TimeoutError> for Failure {
    fn from(_: TimeoutError) -> Self {
        Self::Timeout
    }
}

/// Gets `target` over an open connection, and returns the result of `read` for the status and the body.
///
/// # Errors
/// See [`Failure`].
pub async fn get<R>(
    connection: &mut (impl Read + Write),
    target: &str,
    buffer: &mut [u8; RESPONSE],
    read: impl FnOnce(u16, &[u8]) -> R,
) -> Result<R, Failure> {
    let request = Request { target, host: "server", keep_alive: false, ..Request::default() };
    let length = request.encode(buffer)?;
    connection.write_all(buffer.get(..length).unwrap_or_default()).await.map_err(|_| Failure::Connection)?;
    connection.flush().await.map_err(|_| Failure::Connection)?;
    let mut receiver = Receiver::new(buffer, false);
    let mut progress = Progress::More;
    while progress == Progress::More {
        let length = connection.read(receiver.space()).await.map_err(|_| Failure::Connection)?;
        progress = receiver.received(length)?;
    }
    let response = receiver.response().ok_or(Failure::Response)?;
    Ok(read(response.status(), response.body()))
}
