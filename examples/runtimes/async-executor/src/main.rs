//! async-executor on two threads, between which attempts may move, with a timer of our own and async-io's sockets.
//! Run it: cargo run -p on-async-executor

mod timer;

use std::future::pending;
use std::net::{SocketAddr, TcpStream};
use std::thread;

use async_executor::Executor;
use async_io::Async;
use futures_lite::future::block_on;
use futures_lite::{AsyncReadExt, AsyncWriteExt};
use hedge_core::drive::{AttemptInfo, SendTransport, Timer};
use hedge_core::time::Instant;
use hedge_runtimes::{Broken, Clock, Failure, hedged_call};

use timer::{Alarm, Sleep};

static EXECUTOR: Executor<'static> = Executor::new();

/// One connection an attempt; dropping the attempt closes it.
struct Lines;

impl SendTransport for Lines {
    type Address = SocketAddr;
    type Request = str;
    type Reply = String;
    type Error = Broken;

    async fn start(&self, request: &str, attempt: AttemptInfo<SocketAddr>) -> Result<String, Broken> {
        let mut connection = Async::<TcpStream>::connect(attempt.address).await?;
        connection.write_all(request.as_bytes()).await?;
        let mut reply = String::new();
        connection.read_to_string(&mut reply).await?;
        Ok(reply)
    }
}

struct Alarms(Clock, Alarm);

impl Timer for Alarms {
    type Sleep = Sleep;

    fn now(&self) -> Instant {
        self.0.now()
    }

    fn sleep_until(&self, at: Instant) -> Sleep {
        self.1.sleep_until(self.0.instant(at))
    }
}

fn main() -> Result<(), Failure> {
    for _ in 0..2 {
        thread::spawn(|| block_on(EXECUTOR.run(pending::<()>())));
    }
    block_on(EXECUTOR.spawn(hedged_call("async-executor", Lines, Alarms(Clock::start(), Alarm::start()))))
}
