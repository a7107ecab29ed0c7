//! A server of this program's own that answers some requests wrongly or not at all. It speaks HTTP/1.1 and has a thread
//! for each connection.

use std::io::{self, BufRead as _, BufReader, Write as _};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::process::Command;
use std::thread;
use std::time::Duration;

use super::{PAGE, Place};

/// The argument that makes this program the server.
pub(crate) const ARGUMENT: &str = "misbehave";

pub(super) fn command(place: &Place<'_>) -> io::Result<Command> {
    let mut command = Command::new(std::env::current_exe()?);
    command.arg(ARGUMENT).arg(place.port.to_string());
    Ok(command)
}

/// What one request gets.
#[derive(Clone, Copy, Debug)]
enum Answer {
    /// The page.
    Good,
    /// The page, after an interim response.
    Interim,
    /// The page in chunks, with a trailer.
    Chunks,
    /// The page up to the close of the connection.
    UntilClose,
    /// The page, and a close that is announced.
    LastOne,
    /// The page, and a close that is not announced.
    SilentClose,
    /// Nothing: the connection is closed.
    Close,
    /// Half a head, then a close.
    HalfHead,
    /// A body that is shorter than announced.
    ShortBody,
    /// The page after 200 ms.
    Late,
    /// Nothing for 5 s, then a close.
    Never,
}

impl Answer {
    const BAD: [Self; 10] = [
        Self::Interim,
        Self::Chunks,
        Self::UntilClose,
        Self::LastOne,
        Self::SilentClose,
        Self::Close,
        Self::HalfHead,
        Self::ShortBody,
        Self::Late,
        Self::Never,
    ];

    /// Half of the answers are good.
    fn draw() -> Self {
        if fastrand::bool() { Self::Good } else { fastrand::choice(Self::BAD).unwrap_or(Self::Good) }
    }
}

/// Serves until the process is killed.
///
/// # Errors
/// The port is taken.
pub(crate) fn serve(port: u16) -> io::Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port))?;
    for stream in listener.incoming().flatten() {
        // A thread that cannot be started leaves its connection closed, which is what this server is for.
        let _ = thread::Builder::new().spawn(move || connection(stream));
    }
    Ok(())
}

/// Answers the requests of one connection. Its errors are the client's to notice.
fn connection(stream: TcpStream) {
    let Ok(reading) = stream.try_clone() else { return };
    let mut lines = BufReader::new(reading).lines();
    let mut writing = stream;
    // A head ends with an empty line. Requests have no bodies.
    while let Some(Ok(line)) = lines.next() {
        if line.is_empty() && !matches!(answer(&mut writing, Answer::draw()), Ok(true)) {
            // The peer may still send, so that a reset does not overtake the answer.
            let _ = writing.shutdown(Shutdown::Write);
            return;
        }
    }
}

/// Writes one answer. Returns whether the connection stays open.
fn answer(to: &mut TcpStream, answer: Answer) -> io::Result<bool> {
    let length = PAGE.len();
    let page = format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n{PAGE}");
    let bytes = match answer {
        Answer::Good | Answer::SilentClose => page,
        Answer::Interim => format!("HTTP/1.1 103 Early Hints\r\nlink: </style.css>\r\n\r\n{page}"),
        Answer::Chunks => format!(
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntrailer: x-sum\r\n\r\n{length:x}\r\n{PAGE}\r\n0\r\nx-sum: 1\r\n\r\n"
        ),
        Answer::UntilClose => format!("HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n{PAGE}"),
        Answer::LastOne => {
            format!("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{PAGE}")
        }
        Answer::Close => String::new(),
        Answer::HalfHead => "HTTP/1.1 200 OK\r\ncontent-le".to_owned(),
        Answer::ShortBody => format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\na small"),
        Answer::Late => {
            thread::sleep(Duration::from_millis(200));
            page
        }
        Answer::Never => {
            thread::sleep(Duration::from_secs(5));
            String::new()
        }
    };
    to.write_all(bytes.as_bytes())?;
    Ok(matches!(answer, Answer::Good | Answer::Interim | Answer::Chunks | Answer::Late))
}
