use super::*;
use crate::poll_bytes::BYTES_A_POLL;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Wake, Waker};

use hedge_wire::http1::DecodeError;

/// A socket that gives one piece for each read, and then waits or ends.
#[derive(Default)]
struct Script {
    pieces: VecDeque<Vec<u8>>,
    waits: bool,
    /// Whether the piece is given without end.
    endless: bool,
    write: Option<io::ErrorKind>,
}

impl Read for Script {
    fn poll_read(mut self: Pin<&mut Self>, _: &mut Context<'_>, mut buffer: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        let Some(mut piece) = self.pieces.pop_front() else {
            return if self.waits { Poll::Pending } else { Poll::Ready(Ok(())) };
        };
        let rest = piece.split_off(piece.len().min(buffer.remaining()));
        buffer.put_slice(&piece);
        if self.endless {
            self.pieces.push_back([rest, piece].concat());
        } else if !rest.is_empty() {
            self.pieces.push_front(rest);
        }
        Poll::Ready(Ok(()))
    }
}

impl Write for Script {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        Poll::Ready(self.write.map_or(Ok(data.len()), |kind| Err(kind.into())))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[derive(Default)]
struct Woken(AtomicUsize);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// A filter whose request is being written.
fn next_request(script: Script) -> (AnswerFilter<Script>, Arc<ConnState>) {
    let state = Arc::new(ConnState::new());
    let mut filter = AnswerFilter::new(script, Arc::clone(&state), Follower::default());
    state.ask(false, None);
    let write = Pin::new(&mut filter).poll_write(&mut Context::from_waker(Waker::noop()), b"GET / HTTP/1.1\r\n");
    assert_eq!(write.is_ready(), filter.broken.is_none());
    (filter, state)
}

/// Reads with this much room at once, until the end, an error, or until nothing comes.
fn read(
    filter: &mut AnswerFilter<Script>,
    state: &ConnState,
    room: usize,
    cx: &mut Context<'_>,
) -> (Vec<u8>, Poll<io::Result<()>>) {
    let mut seen = Vec::new();
    loop {
        state.poll_bytes.begin_poll();
        let mut bytes = vec![0; room];
        let mut buffer = ReadBuf::new(&mut bytes);
        let read = Pin::new(&mut *filter).poll_read(cx, buffer.unfilled());
        let filled = buffer.filled();
        seen.extend_from_slice(filled);
        if !matches!(read, Poll::Ready(Ok(()))) || filled.is_empty() {
            return (seen, read);
        }
    }
}

fn fault(read: &Poll<io::Result<()>>) -> Option<Fault> {
    let Poll::Ready(Err(error)) = read else { return None };
    Some(error.get_ref()?.downcast_ref::<Wrong>()?.0)
}

/// The head, the data and the trailers that hyper sees.
fn parts(mut seen: &[u8]) -> [Vec<u8>; 3] {
    let mut follower = Follower::default();
    follower.request(false);
    let mut parts = [vec![], vec![], vec![]];
    while !seen.is_empty() {
        let part = follower.follow(seen).unwrap();
        let (bytes, rest) = seen.split_at(part.length());
        match part {
            Part::Partial => panic!("hyper sees a part of a head: {}", seen.escape_ascii()),
            Part::Head(_) => parts[0].extend_from_slice(bytes),
            Part::Data(_) => parts[1].extend_from_slice(bytes),
            Part::Trailers(_) => parts[2].extend_from_slice(bytes),
            Part::Interim(_) => panic!("hyper sees an interim response"),
            Part::Framing(_) => {}
        }
        seen = rest;
    }
    parts
}

const WIRES: [&str; 10] = [
    "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello",
    "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhelloHTTP/1.1 200 OK\r\n\r\n",
    "HTTP/1.1 100\r\n\r\nHTTP/1.1 103 x\r\na: b\r\n\r\nHTTP/1.1 200 OK\r\n\r\nhello",
    "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\nh\r\n1;x=y\r\ne\r\n003\r\nllo\r\n0\r\n\r\n",
    "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n0;x\r\na: b\r\nc: d\r\n\r\n",
    "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\nsurplus",
    "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n00000000000000000\r\n\r\n",
    "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n3\r\nhello",
    "HTTP/1.1 204 x\r\n\r\n",
    "HTTP/1.1 200 OK\r\na: b\r\n c: d\r\n\r\n",
];

#[test]
fn p1_hyper_sees_the_same_in_whatever_pieces_it_comes() {
    for wire in WIRES {
        let seen_in = |pieces: Vec<&[u8]>, room: usize| {
            let pieces = pieces.into_iter().filter(|piece| !piece.is_empty()).map(<[u8]>::to_vec).collect();
            let (mut filter, state) = next_request(Script { pieces, ..Script::default() });
            let (seen, end) = read(&mut filter, &state, room, &mut Context::from_waker(Waker::noop()));
            let fault = fault(&end);
            assert!(fault.is_some() || matches!(end, Poll::Ready(Ok(()))), "{end:?}");
            let again = read(&mut filter, &state, room, &mut Context::from_waker(Waker::noop()));
            assert!(again.0.is_empty() && matches!(again.1, Poll::Ready(Ok(()))), "nothing comes after an end");
            (parts(&seen), fault, filter.follower.is_done())
        };
        let bytes = wire.as_bytes();
        let whole = seen_in(vec![bytes], 8192);
        for cut in 0..bytes.len() {
            let (before, after) = bytes.split_at(cut);
            assert_eq!(seen_in(vec![before, after], 8192), whole, "cut at {cut}: {wire:?}");
        }
        for room in [1, 2, 7, 30] {
            assert_eq!(seen_in(bytes.chunks(1).collect(), room), whole, "byte by byte, room for {room}: {wire:?}");
            assert_eq!(seen_in(vec![bytes], room), whole, "room for {room}: {wire:?}");
        }
    }
}

#[test]
fn p1_a_fault_says_what_and_where() {
    for (wire, error, at) in [
        ("HTTP/1.1 200 OK\r\na: b\r\n c: d\r\n\r\n", DecodeError::BadHead, 23),
        ("HTTP/1.1 200 OK\r\na: b\nc: d\r\n\r\n", DecodeError::BadHead, 21),
        ("HTTX/1.1 200 OK", DecodeError::BadHead, 3),
        ("\x15\x03\x03\x00\x02\x02\x32", DecodeError::Tls, 0),
        ("\x16\x03\x03", DecodeError::BadHead, 0),
        ("HTTP/1.1 103 x\r\n\r\nHTTP/1.1 101 x\r\n\r\n", DecodeError::Switched, 18),
        ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\nxx", DecodeError::BadChunk, 51),
    ] {
        let (mut filter, state) = next_request(Script { pieces: [wire.into()].into(), ..Script::default() });
        let (_, end) = read(&mut filter, &state, 8192, &mut Context::from_waker(Waker::noop()));
        assert_eq!(fault(&end), Some(Fault { error, at }), "{wire:?}");
    }
}

#[test]
fn l2_a_poll_reads_so_many_bytes_and_is_woken_for_the_rest() {
    for (wire, again, at_most) in [
        ("HTTP/1.1 200 OK\r\n\r\n", "x", BYTES_A_POLL),
        // The first read takes only as many bytes as there is room for, and each of them costs more than one byte.
        ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n", "1\r\nx\r\n", 8192 + 1024),
    ] {
        let (mut filter, state) =
            next_request(Script { pieces: [wire.into()].into(), waits: true, ..Script::default() });
        let woken = Arc::<Woken>::default();
        let waker = Waker::from(Arc::clone(&woken));
        let mut cx = Context::from_waker(&waker);
        assert!(read(&mut filter, &state, 8192, &mut cx).1.is_pending());
        assert_eq!(woken.0.load(Ordering::Relaxed), 0, "it waits for the peer");
        filter.io.pieces.push_back(again.repeat(1 << 20).into());
        filter.io.endless = true;
        for polls in 1..4 {
            state.poll_bytes.begin_poll();
            let mut seen = 0;
            loop {
                let mut bytes = [0; 8192];
                let mut buffer = ReadBuf::new(&mut bytes);
                if Pin::new(&mut filter).poll_read(&mut cx, buffer.unfilled()).is_pending() {
                    break;
                }
                seen += buffer.filled().len();
            }
            assert!(seen > 0 && seen <= at_most, "{seen} bytes in one poll");
            assert_eq!(woken.0.load(Ordering::Relaxed), polls);
        }
    }
}

#[test]
fn t5_what_came_before_a_reset_is_read() {
    let whole = "HTTP/1.1 401 x\r\ncontent-length: 2\r\n\r\nno";
    for length in 0..=whole.len() {
        let pieces = if length == 0 { VecDeque::new() } else { [whole.as_bytes()[..length].to_vec()].into() };
        let (mut filter, state) =
            next_request(Script { pieces, write: Some(io::ErrorKind::ConnectionReset), ..Script::default() });
        let (seen, end) = read(&mut filter, &state, 8192, &mut Context::from_waker(Waker::noop()));
        if length == whole.len() {
            assert!(!state.is_free(), "its request has not been sent");
            assert!(seen == whole.as_bytes() && matches!(end, Poll::Ready(Ok(()))), "{end:?}");
        } else {
            let head = whole.find("no").unwrap();
            assert_eq!(seen, whole.as_bytes()[..if length < head { 0 } else { length }]);
            let Poll::Ready(Err(error)) = end else { panic!("{length} bytes: {end:?}") };
            assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
        }
    }
}

#[test]
fn c3_bytes_that_answer_nothing_end_the_connection() {
    let state = Arc::new(ConnState::new());
    let pieces = [b"HTTP/1.1 408 x\r\n\r\n".to_vec()].into();
    let mut filter =
        AnswerFilter::new(Script { pieces, waits: true, ..Script::default() }, Arc::clone(&state), Follower::default());
    // The request was handed over, but no byte of it has been written.
    state.ask(false, None);
    let (seen, end) = read(&mut filter, &state, 8192, &mut Context::from_waker(Waker::noop()));
    assert!(seen.is_empty() && matches!(end, Poll::Ready(Ok(()))), "{end:?}");
}

#[test]
fn a_number_is_written_in_hexadecimal() {
    for number in [0, 1, 9, 10, 15, 16, 255, 4096, usize::MAX] {
        assert_eq!(hex(number, &mut [0; 16]), format!("{number:x}").as_bytes());
    }
}
