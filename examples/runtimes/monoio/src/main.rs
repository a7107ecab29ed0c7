//! monoio: io_uring, or epoll where the kernel has none of it. Run it: cargo run -p on-monoio

use std::net::SocketAddr;
use std::pin::Pin;

use hedge_core::drive::{AttemptInfo, Timer, Transport};
use hedge_core::time::Instant;
use hedge_runtimes::{Broken, Clock, Failure, hedged_call};
use monoio::io::{AsyncBufReadExt, AsyncWriteRentExt, BufReader};
use monoio::net::TcpStream;
use monoio::time::{self, Sleep};
use monoio::{FusionDriver, RuntimeBuilder};

/// One connection an attempt; dropping the attempt closes it.
struct Lines;

impl Transport for Lines {
    type Address = SocketAddr;
    type Request = str;
    type Reply = String;
    type Error = Broken;

    async fn start(&self, request: &str, attempt: AttemptInfo<SocketAddr>) -> Result<String, Broken> {
        let mut connection = TcpStream::connect_addr(attempt.address).await?;
        // A buffer belongs to the kernel while it is written from.
        connection.write_all(request.as_bytes().to_vec()).await.0?;
        let mut reply = String::new();
        BufReader::new(connection).read_line(&mut reply).await?;
        Ok(reply)
    }
}

/// The wheel that is driven with the sockets.
struct Wheel(Clock);

impl Timer for Wheel {
    type Sleep = Sleep;

    fn now(&self) -> Instant {
        self.0.now()
    }

    fn sleep_until(&self, at: Instant) -> Sleep {
        time::sleep_until(self.0.instant(at).into())
    }

    fn reset(&self, sleep: Pin<&mut Sleep>, at: Instant) {
        sleep.reset(self.0.instant(at).into());
    }
}

fn main() -> Result<(), Failure> {
    let mut runtime = RuntimeBuilder::<FusionDriver>::new().enable_timer().build()?;
    runtime.block_on(hedged_call("monoio", Lines, Wheel(Clock::start())))
}
