//! A small HTTP server: [`Server`].

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::rc::Rc;

use embassy_futures::select::select;
use embassy_net::Stack;
use embassy_net::tcp::{State as TcpState, TcpSocket};
use embassy_sync::blocking_mutex::raw::NoopRawMutex;
use embassy_sync::signal::Signal;
use embassy_time::Timer;

use crate::{SERVERS, World};

/// What a server does with a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Behaviour {
    /// Answers with these bytes after some time, and closes the connection.
    Answer {
        /// The head and the body of the answer.
        bytes: Vec<u8>,
        /// How long the request takes, in milliseconds.
        work_ms: u64,
    },
    /// Answers with these bytes as soon as it has read the head, and reads nothing more.
    AnswerEarly(Vec<u8>),
    /// Accepts connections and reads requests, but never answers.
    Silent,
    /// Refuses connections.
    Closed,
}

impl Behaviour {
    /// Answers at once with this status, these headers and this body.
    #[must_use]
    pub fn answers(status: u16, headers: &str, body: &str) -> Self {
        let text = format!("HTTP/1.1 {status} X\r\n{headers}content-length: {}\r\n\r\n{body}", body.len());
        Self::Answer { bytes: text.into_bytes(), work_ms: 0 }
    }
}

/// How many requests of a server stall, and for how long.
#[derive(Clone, Copy, Debug)]
pub struct Stall {
    /// How many of a thousand requests stall.
    pub per_mille: u32,
    /// How many milliseconds longer such a request takes.
    pub ms: u64,
}

impl Stall {
    /// 5 % of the requests take 20 ms longer.
    pub const USUAL: Self = Self { per_mille: 50, ms: 20 };
    /// No request stalls.
    pub const NONE: Self = Self { per_mille: 0, ms: 0 };
}

/// A server on the far stack. It is a handle to a few sockets that listen at its port.
#[derive(Clone)]
pub struct Server {
    /// The server's address.
    pub address: SocketAddr,
    state: Rc<State>,
}

struct State {
    behaviour: RefCell<Behaviour>,
    stall: Stall,
    random: RefCell<fastrand::Rng>,
    requests: RefCell<Vec<String>>,
    /// How many connections ended before the server had answered.
    given_up: Cell<u32>,
    sockets: Vec<Signal<NoopRawMutex, ()>>,
}

impl Server {
    /// A server that answers with status 200 and its port as the body.
    #[must_use]
    pub fn new(world: &World, stack: Stack<'static>, port: u16, stall: Stall, sockets: usize) -> Self {
        let state = Rc::new(State {
            behaviour: RefCell::new(Behaviour::answers(200, "", &port.to_string())),
            stall,
            random: RefCell::new(fastrand::Rng::with_seed(port.into())),
            requests: RefCell::default(),
            given_up: Cell::new(0),
            sockets: (0..sockets).map(|_| Signal::new()).collect(),
        });
        for index in 0..sockets {
            world.spawn(listen(stack, port, Rc::clone(&state), index));
        }
        Self { address: SocketAddr::new(SERVERS.into(), port), state }
    }

    /// Changes what the server does, and breaks its open connections.
    pub fn becomes(&self, behaviour: Behaviour) {
        *self.state.behaviour.borrow_mut() = behaviour;
        for socket in &self.state.sockets {
            socket.signal(());
        }
    }

    /// The requests that it has read: their heads and what came with them.
    #[must_use]
    pub fn requests(&self) -> Vec<String> {
        self.state.requests.borrow().clone()
    }

    /// How many connections ended while the server worked on an answer or was sending it.
    #[must_use]
    pub fn given_up(&self) -> u32 {
        self.state.given_up.get()
    }
}

async fn listen(stack: Stack<'static>, port: u16, state: Rc<State>, index: usize) {
    let (rx, tx) = (Box::leak(Box::new([0; 1024])), Box::leak(Box::new([0; 1024])));
    let mut socket = TcpSocket::new(stack, rx, tx);
    let changed = &state.sockets[index];
    loop {
        if *state.behaviour.borrow() == Behaviour::Closed {
            changed.wait().await;
            continue;
        }
        select(serve(&mut socket, port, &state), changed.wait()).await;
        socket.abort();
        let _ = socket.flush().await;
    }
}

/// Serves one connection.
async fn serve(socket: &mut TcpSocket<'static>, port: u16, state: &State) {
    if socket.accept(port).await.is_err() {
        return;
    }
    let mut request = Vec::new();
    let early = matches!(*state.behaviour.borrow(), Behaviour::AnswerEarly(_));
    while !(is_whole(&request) || early && has_head(&request)) {
        let mut piece = [0; 256];
        match socket.read(&mut piece).await {
            Ok(length @ 1..) => request.extend_from_slice(&piece[..length]),
            // A health check connects and closes the connection.
            _ => return,
        }
    }
    state.requests.borrow_mut().push(String::from_utf8_lossy(&request).into_owned());
    let behaviour = state.behaviour.borrow().clone();
    if let Behaviour::AnswerEarly(bytes) = behaviour {
        let _ = socket.write(&bytes).await;
        while socket.state() == TcpState::Established {
            Timer::after_millis(1).await;
        }
        state.given_up.set(state.given_up.get() + 1);
        return;
    }
    let Behaviour::Answer { bytes, work_ms } = behaviour else {
        gone(socket).await;
        state.given_up.set(state.given_up.get() + 1);
        return;
    };
    let stalls = state.random.borrow_mut().u32(..1_000) < state.stall.per_mille;
    let works = Timer::after_millis(work_ms + if stalls { state.stall.ms } else { 0 });
    if matches!(select(works, gone(socket)).await, embassy_futures::select::Either::Second(())) {
        state.given_up.set(state.given_up.get() + 1);
        return;
    }
    let mut rest = &bytes[..];
    while !rest.is_empty() {
        match socket.write(rest).await {
            Ok(written @ 1..) => rest = &rest[written..],
            _ => {
                state.given_up.set(state.given_up.get() + 1);
                return;
            }
        }
    }
    socket.close();
    let _ = socket.flush().await;
}

/// Waits until the client has closed or reset the connection.
async fn gone(socket: &mut TcpSocket<'static>) {
    let mut piece = [0; 16];
    while let Ok(1..) = socket.read(&mut piece).await {}
}

fn has_head(request: &[u8]) -> bool {
    request.windows(4).any(|bytes| bytes == b"\r\n\r\n")
}

/// Whether the head and the whole body are there.
fn is_whole(request: &[u8]) -> bool {
    let text = String::from_utf8_lossy(request);
    let Some((head, body)) = text.split_once("\r\n\r\n") else { return false };
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
    body.len() >= length.unwrap_or(0)
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Server").field("address", &self.address).finish_non_exhaustive()
    }
}
