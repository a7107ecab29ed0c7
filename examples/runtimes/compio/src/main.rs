//! compio: owned buffers and io_uring, or epoll where the kernel has none of it. Run it: cargo run -p on-compio

use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;

use compio::io::{AsyncReadExt, AsyncWriteExt};
use compio::net::TcpStream;
use compio::runtime::Runtime;
use hedge_core::drive::{AttemptInfo, Timer, Transport};
use hedge_core::time::Instant;
use hedge_runtimes::{Broken, Clock, Failure, hedged_call};

/// One connection an attempt; dropping the attempt closes it.
struct Lines;

impl Transport for Lines {
    type Address = SocketAddr;
    type Request = str;
    type Reply = String;
    type Error = Broken;

    async fn start(&self, request: &str, attempt: AttemptInfo<SocketAddr>) -> Result<String, Broken> {
        let mut connection = TcpStream::connect(attempt.address).await?;
        // A buffer belongs to the kernel while it is written from, or read to.
        connection.write_all(request.as_bytes().to_vec()).await.0?;
        let (read, reply) = connection.read_to_end(Vec::new()).await.into();
        read?;
        Ok(String::from_utf8_lossy(&reply).into_owned())
    }
}

/// The timers that are driven with the sockets.
struct Timers(Clock);

impl Timer for Timers {
    // `compio::time::sleep_until` is a future without a name.
    type Sleep = Pin<Box<dyn Future<Output = ()>>>;

    fn now(&self) -> Instant {
        self.0.now()
    }

    fn sleep_until(&self, at: Instant) -> Self::Sleep {
        Box::pin(compio::time::sleep_until(self.0.instant(at)))
    }
}

fn main() -> Result<(), Failure> {
    Runtime::new()?.block_on(hedged_call("compio", Lines, Timers(Clock::start())))
}
