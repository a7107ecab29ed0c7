//! The servers do what they say.

use std::io::ErrorKind;
use std::time::Instant;

use super::*;

const GET: &[u8] = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n";
const PUT: &[u8] = b"PUT / HTTP/1.1\r\nhost: x\r\ncontent-length: 100000\r\n\r\n";

const WORK: Duration = Duration::from_millis(5);

/// Long enough for a busy machine; what must not come is waited for much shorter.
const LONG: Duration = Duration::from_secs(20);
const SHORT: Duration = Duration::from_millis(50);

fn bad(fault: Fault) -> Server {
    let server = Server::start(fault, WORK).unwrap();
    server.turn_bad();
    server
}

fn connect(server: &Server) -> TcpStream {
    let stream = TcpStream::connect(server.address()).unwrap();
    stream.set_read_timeout(Some(LONG)).unwrap();
    stream
}

/// Reads one answer.
fn answered(mut stream: &TcpStream) -> bool {
    let mut got = [0; ANSWER.len()];
    stream.read_exact(&mut got).is_ok() && got == ANSWER
}

/// Sends a GET and reads its answer.
fn get(mut stream: &TcpStream) -> bool {
    stream.write_all(GET).is_ok() && answered(stream)
}

/// Nothing comes, and the connection is open.
fn silent(mut stream: &TcpStream) -> bool {
    stream.set_read_timeout(Some(SHORT)).unwrap();
    let read = stream.read(&mut [0]);
    stream.set_read_timeout(Some(LONG)).unwrap();
    read.is_err_and(|error| matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut))
}

/// How a connection ends on which nothing more comes.
fn end(mut stream: &TcpStream) -> Result<usize, ErrorKind> {
    stream.read(&mut [0]).map_err(|error| error.kind())
}

#[test]
fn each_server_is_good_until_it_is_bad() {
    for fault in Fault::ALL {
        let server = Server::start(fault, WORK).unwrap();
        let stream = connect(&server);
        for _ in 0..3 {
            assert!(get(&stream), "{fault:?}");
        }
        (&stream).write_all(PUT).unwrap();
        assert!(silent(&stream), "{fault:?}: it waits for the body");
        (&stream).write_all(&[7; 100_000]).unwrap();
        assert!(answered(&stream), "{fault:?}");
    }
}

#[test]
fn a_hung_server_accepts_and_never_answers() {
    let server = bad(Fault::Hung);
    for _ in 0..2 {
        let stream = connect(&server);
        (&stream).write_all(GET).unwrap();
        assert!(silent(&stream));
    }
}

#[test]
fn a_resetting_server_answers_once_and_resets_at_the_next_request() {
    let server = bad(Fault::Resetting);
    let stream = connect(&server);
    assert!(get(&stream));
    assert!(silent(&stream), "an idle connection stays open");
    (&stream).write_all(GET).unwrap();
    assert_eq!(end(&stream), Err(ErrorKind::ConnectionReset));
    assert!(get(&connect(&server)), "a new one is answered");
}

#[test]
fn a_closing_server_closes_after_each_answer() {
    let server = bad(Fault::Closing);
    for _ in 0..2 {
        let stream = connect(&server);
        assert!(get(&stream));
        assert_eq!(end(&stream), Ok(0));
    }
}

#[test]
fn an_early_server_answers_the_head_and_reads_no_more() {
    let server = bad(Fault::Early);
    let stream = connect(&server);
    (&stream).write_all(PUT).unwrap();
    assert!(answered(&stream), "without the body");
    assert!(silent(&stream), "it stays open");
    (&stream).write_all(&[7; 100_000]).unwrap();
    (&stream).write_all(GET).unwrap();
    assert!(silent(&stream), "nothing more is read");
    assert!(server.stop());
    assert_eq!(end(&stream), Err(ErrorKind::ConnectionReset), "closed with its server");
}

#[test]
fn an_early_server_holds_a_bounded_number_of_connections() {
    let server = bad(Fault::Early);
    let upload = || {
        let stream = connect(&server);
        (&stream).write_all(PUT).unwrap();
        assert!(answered(&stream));
        stream
    };
    let streams: Vec<_> = (0..HELD + 8).map(|_| upload()).collect();
    // The threads hand their connections over after the answers.
    let open = || streams.iter().filter(|stream| silent_now(stream)).count();
    let begun = Instant::now();
    while open() != HELD && begun.elapsed() < LONG {
        thread::yield_now();
    }
    assert_eq!(open(), HELD);
}

/// As [`silent`], at this moment.
fn silent_now(stream: &TcpStream) -> bool {
    stream.set_nonblocking(true).unwrap();
    stream.peek(&mut [0]).is_err_and(|error| error.kind() == ErrorKind::WouldBlock)
}

#[test]
fn an_early_closing_server_answers_the_head_and_closes() {
    let server = bad(Fault::EarlyClosing);
    let stream = connect(&server);
    (&stream).write_all(PUT).unwrap();
    assert!(answered(&stream), "without the body");
    assert_eq!(end(&stream), Ok(0), "nothing was unread");

    // With more of the body than it reads at once, that is a reset, unless the rest comes after the close; what was
    // answered is there all the same.
    let stream = connect(&server);
    (&stream).write_all(&[PUT, &[7; 90_000]].concat()).unwrap();
    assert!(answered(&stream));
    let end = end(&stream);
    assert!(matches!(end, Ok(0) | Err(ErrorKind::ConnectionReset)), "{end:?}");
}

#[test]
fn a_swallowing_server_answers_every_other_request() {
    let server = bad(Fault::Swallowing);
    for _ in 0..3 {
        let stream = connect(&server);
        assert!(get(&stream));
        (&stream).write_all(GET).unwrap();
        assert!(silent(&stream));
    }
    let stream = connect(&server);
    (&stream).write_all(GET).unwrap();
    assert!(answered(&stream), "by their order, whatever the connection");
}

#[test]
fn a_slow_server_takes_its_time() {
    let server = Server::start(Fault::Slow, WORK).unwrap();
    let stream = connect(&server);
    let took = || {
        let begun = Instant::now();
        assert!(get(&stream));
        begun.elapsed()
    };
    assert!(took() >= WORK);
    server.turn_bad();
    assert!(took() >= SLOW);
}

#[test]
fn stopping_closes_the_port_and_all_connections() {
    for fault in Fault::ALL {
        let server = bad(fault);
        let (address, used, unused) = (server.address(), connect(&server), connect(&server));
        (&used).write_all(GET).unwrap();
        assert!(server.stop(), "{fault:?}: all threads have ended");
        for stream in [&used, &unused] {
            let ended = io::copy(&mut &*stream, &mut io::sink());
            assert!(ended.is_ok() || ended.is_err_and(|error| error.kind() == ErrorKind::ConnectionReset), "{fault:?}");
        }
        let begun = Instant::now();
        while TcpStream::connect(address).is_ok() {
            assert!(begun.elapsed() < LONG, "{fault:?}: the port is open");
            thread::yield_now();
        }
    }
}

#[test]
fn a_head_tells_the_length_of_its_body() {
    let length = |mut text: &[u8]| read_head(&mut text);
    assert_eq!(length(GET).unwrap(), Some(0));
    assert_eq!(length(PUT).unwrap(), Some(100_000));
    assert_eq!(length(b"").unwrap(), None);
    assert!(length(b"PUT / HTTP/1.1\r\ncontent-length: x\r\n\r\n").is_err());
    assert!(length(b"PUT / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n").is_err());
}
