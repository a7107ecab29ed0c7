//! A binding that is wrong is told apart from one that is right.

use std::cell::{Cell, RefCell};
use std::future::{Future, Ready, pending, ready};
use std::io::{Write, read_to_string};
use std::net::{SocketAddr, TcpStream};
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use hedge_core::drive::{AttemptInfo, Timer, Transport};
use hedge_core::outcome::Kind;
use hedge_core::time::Instant;

use super::{Broken, hedged_call};

/// Its time passes by being waited for.
struct Virtual(Cell<Instant>);

impl Timer for Virtual {
    type Sleep = Ready<()>;

    fn now(&self) -> Instant {
        self.0.get()
    }

    fn sleep_until(&self, at: Instant) -> Ready<()> {
        self.0.set(self.0.get().max(at));
        ready(())
    }
}

/// What a transport does wrong.
#[derive(Clone, Copy, PartialEq)]
enum Fault {
    /// It never asks a server.
    AnswersItself,
    /// It does not get through to any.
    Fails,
    /// It never closes the connection of an attempt that is dropped.
    Leaks,
}

struct Faulty(Fault, RefCell<Vec<TcpStream>>);

impl Transport for Faulty {
    type Address = SocketAddr;
    type Request = str;
    type Reply = String;
    type Error = Broken;

    async fn start(&self, request: &str, attempt: AttemptInfo<SocketAddr>) -> Result<String, Broken> {
        match self.0 {
            Fault::AnswersItself => return Ok("made up".to_owned()),
            Fault::Fails => return Err(std::io::Error::from(std::io::ErrorKind::ConnectionRefused).into()),
            Fault::Leaks => {}
        }
        let mut connection = TcpStream::connect(attempt.address)?;
        connection.write_all(request.as_bytes())?;
        if attempt.kind == Kind::First {
            self.1.borrow_mut().push(connection);
            return pending().await;
        }
        Ok(read_to_string(connection)?)
    }
}

fn failure_of(fault: Fault) -> String {
    let call = hedged_call("a test", Faulty(fault, RefCell::default()), Virtual(Cell::new(Instant::ZERO)));
    let mut call = pin!(call);
    loop {
        if let Poll::Ready(result) = call.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            return result.unwrap_err().to_string();
        }
    }
}

#[test]
fn a_first_attempt_that_wins_is_a_failure() {
    let failure = failure_of(Fault::AnswersItself);
    assert!(failure.contains("no backup won"), "{failure}");
}

#[test]
fn no_reply_is_a_failure() {
    let failure = failure_of(Fault::Fails);
    assert!(failure.contains("no reply"), "{failure}");
}

#[test]
fn a_connection_that_stays_open_is_a_failure() {
    let failure = failure_of(Fault::Leaks);
    assert!(failure.contains("still open"), "{failure}");
}
