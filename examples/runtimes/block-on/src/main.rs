//! The standard library alone: `block_on` parks its thread, and what blocks has a thread of its own.
//! Run it: cargo run -p on-block-on

mod park;

use std::io::{Write, read_to_string};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;

use hedge_core::drive::{AttemptInfo, Timer, Transport};
use hedge_core::time::Instant;
use hedge_runtimes::{Broken, Clock, Failure, hedged_call};

use park::{Sleep, block_on, blocking};

/// One connection an attempt.
struct Lines;

impl Transport for Lines {
    type Address = SocketAddr;
    type Request = str;
    type Reply = String;
    type Error = Broken;

    async fn start(&self, request: &str, attempt: AttemptInfo<SocketAddr>) -> Result<String, Broken> {
        let connection = Arc::new(blocking(move || TcpStream::connect(attempt.address)).await?);
        let _closed_when_dropped = Closing(connection.clone());
        let request = request.to_owned();
        let ask = move || (&*connection).write_all(request.as_bytes()).and_then(|()| read_to_string(&*connection));
        Ok(blocking(ask).await?)
    }
}

/// Ends the wait of a thread that reads from the connection.
struct Closing(Arc<TcpStream>);

impl Drop for Closing {
    fn drop(&mut self) {
        drop(self.0.shutdown(Shutdown::Both));
    }
}

struct Parked(Clock);

impl Timer for Parked {
    type Sleep = Sleep;

    fn now(&self) -> Instant {
        self.0.now()
    }

    fn sleep_until(&self, at: Instant) -> Sleep {
        Sleep(self.0.instant(at))
    }
}

fn main() -> Result<(), Failure> {
    block_on(hedged_call("block_on", Lines, Parked(Clock::start())))
}
