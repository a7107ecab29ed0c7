//! glommio: a thread for each core and io_uring, without which it does not run. Run it: cargo run -p on-glommio

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;

use futures_lite::{AsyncReadExt, AsyncWriteExt};
use glommio::net::TcpStream;
use glommio::{LocalExecutorBuilder, timer};
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
        connection.write_all(request.as_bytes()).await?;
        let mut reply = String::new();
        connection.read_to_string(&mut reply).await?;
        Ok(reply)
    }
}

/// The timers that are driven with the sockets.
struct Timers(Clock);

impl Timer for Timers {
    // glommio's own answers an instant.
    type Sleep = Pin<Box<dyn Future<Output = ()>>>;

    fn now(&self) -> Instant {
        self.0.now()
    }

    fn sleep_until(&self, at: Instant) -> Self::Sleep {
        let timer = timer::Timer::new(at.since(self.now()));
        Box::pin(async {
            timer.await;
        })
    }
}

fn main() -> Result<(), Failure> {
    let executor = LocalExecutorBuilder::default().make().map_err(io::Error::from)?;
    executor.run(hedged_call("glommio", Lines, Timers(Clock::start())))
}
