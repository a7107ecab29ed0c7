//! Reads the part of a request's body that is available at once: [`read`].

use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use hedge_fleet::caught;
use http_body::{Body, Frame, SizeHint};

use crate::http::{BoxError, RequestBody, RequestBodyError};

/// The maximum length, in bytes, of a body that is kept so that it can be sent twice. See
/// [`GrpcChannel`](super::GrpcChannel).
pub(super) const MOST_KEPT: usize = 4 << 20;
/// The maximum number of frames that are read. A body with more frames counts as a stream.
const MOST_FRAMES: usize = 1_024;

/// Reads the part of a body that is available at once. If this is the whole body, and it has at most 4 MiB, it can be
/// sent several times. Otherwise the body can be sent only once, and its rest is read while it is sent.
pub(super) async fn read<B>(body: B) -> Result<RequestBody, RequestBodyError>
where
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    let mut reading = Reading { read: VecDeque::new(), length: 0, body: Box::pin(body) };
    // This future never waits. It is a future only because reading needs a context.
    let ended = poll_fn(|cx| Poll::Ready(reading.read_what_is_there(cx))).await?;
    Ok(if ended { reading.joined().into() } else { RequestBody::once(reading) })
}

/// A body, and the pieces of it that were already read.
struct Reading<B> {
    read: VecDeque<Bytes>,
    /// The total length of these pieces in bytes.
    length: usize,
    body: Pin<Box<B>>,
}

impl<B> Reading<B>
where
    B: Body<Data = Bytes>,
    B::Error: Into<BoxError>,
{
    /// Reads the pieces that are available at once. Returns whether the body has ended.
    fn read_what_is_there(&mut self, cx: &mut Context<'_>) -> Result<bool, RequestBodyError> {
        let (mut ended, announced) =
            caught(|| (self.body.is_end_stream(), self.body.size_hint().lower())).ok_or(RequestBodyError::Panicked)?;
        if announced > MOST_KEPT as u64 {
            return Ok(false);
        }
        for _ in 0..MOST_FRAMES {
            if ended {
                return Ok(true);
            }
            let (frame, end) = caught(|| {
                let frame = self.body.as_mut().poll_frame(cx);
                let end = matches!(frame, Poll::Ready(None)) || self.body.is_end_stream();
                (frame, end)
            })
            .ok_or(RequestBodyError::Panicked)?;
            let Poll::Ready(frame) = frame else { return Ok(false) };
            let frame = frame.transpose().map_err(|error| RequestBodyError::Failed(error.into()))?;
            if let Some(frame) = frame {
                let data = frame.into_data().map_err(|_| RequestBodyError::Trailers)?;
                self.length = self.length.saturating_add(data.len());
                self.read.push_back(data);
                if self.length > MOST_KEPT {
                    return Ok(false);
                }
            }
            ended = end;
        }
        Ok(ended)
    }

    /// Returns all pieces as one. If there is only one piece, it is not copied.
    fn joined(mut self) -> Bytes {
        if self.read.len() == 1 {
            return self.read.pop_front().unwrap_or_default();
        }
        let mut joined = BytesMut::with_capacity(self.length);
        self.read.iter().for_each(|piece| joined.extend_from_slice(piece));
        joined.freeze()
    }
}

/// Returns first the pieces that were read, and then the rest of the body.
impl<B> Body for Reading<B>
where
    B: Body<Data = Bytes>,
    B::Error: Into<BoxError>,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match self.read.pop_front() {
            Some(piece) => {
                self.length = self.length.saturating_sub(piece.len());
                Poll::Ready(Some(Ok(Frame::data(piece))))
            }
            None => self.body.as_mut().poll_frame(cx).map_err(Into::into),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.read.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let rest = self.body.size_hint();
        let read = self.length as u64;
        let mut hint = SizeHint::new();
        hint.set_lower(rest.lower().saturating_add(read));
        if let Some(upper) = rest.upper().and_then(|upper| upper.checked_add(read)) {
            hint.set_upper(upper);
        }
        hint
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ::http::HeaderMap;
    use std::future::Future;
    use std::task::Waker;

    /// The result of one poll of a body.
    enum Step {
        Data(&'static [u8]),
        Long(usize),
        Trailers,
        Wait,
        Fail,
        Panic,
    }

    struct Script(VecDeque<Step>);

    impl Body for Script {
        type Data = Bytes;
        type Error = &'static str;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, &'static str>>> {
            Poll::Ready(match self.0.pop_front() {
                None => None,
                Some(Step::Data(data)) => Some(Ok(Frame::data(Bytes::from_static(data)))),
                Some(Step::Long(length)) => Some(Ok(Frame::data(vec![0; length].into()))),
                Some(Step::Trailers) => Some(Ok(Frame::trailers(HeaderMap::new()))),
                Some(Step::Fail) => Some(Err("no more")),
                Some(Step::Panic) => panic!("on purpose"),
                Some(Step::Wait) => return Poll::Pending,
            })
        }
    }

    fn now<T>(future: impl Future<Output = T>) -> T {
        match std::pin::pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(result) => result,
            Poll::Pending => panic!("it waits"),
        }
    }

    fn read_of(steps: impl IntoIterator<Item = Step>) -> Result<RequestBody, RequestBodyError> {
        now(read(Script(steps.into_iter().collect())))
    }

    #[test]
    fn t3_a_body_that_is_there_can_be_sent_several_times() {
        for (steps, expected) in [
            (vec![], ""),
            (vec![Step::Data(b"one")], "one"),
            (vec![Step::Data(b"one"), Step::Data(b""), Step::Data(b"two")], "onetwo"),
        ] {
            let body = read_of(steps).unwrap();
            assert!(matches!(&body, RequestBody::Bytes(bytes) if bytes == expected), "{body:?} is not {expected}");
        }
        let body = read_of([Step::Long(MOST_KEPT - 1), Step::Long(1)]).unwrap();
        assert!(matches!(body, RequestBody::Bytes(bytes) if bytes.len() == MOST_KEPT));
    }

    #[test]
    fn t3_a_body_that_is_still_made_or_too_long_can_be_sent_once() {
        for steps in [
            vec![Step::Wait],
            vec![Step::Data(b"one"), Step::Wait, Step::Data(b"two")],
            vec![Step::Long(MOST_KEPT), Step::Long(1)],
            (0..=MOST_FRAMES).map(|_| Step::Data(b"")).collect(),
        ] {
            assert!(matches!(read_of(steps), Ok(RequestBody::Once(_))));
        }
    }

    #[test]
    fn what_was_read_is_sent_before_the_rest() {
        let script = Script([Step::Data(b"one"), Step::Data(b"two"), Step::Wait, Step::Data(b"three")].into());
        let mut reading = Reading { read: VecDeque::new(), length: 0, body: Box::pin(script) };
        let mut cx = Context::from_waker(Waker::noop());
        assert!(!reading.read_what_is_there(&mut cx).unwrap());
        assert_eq!((reading.size_hint().lower(), reading.size_hint().upper()), (6, None));
        let mut sent = Vec::new();
        while let Poll::Ready(Some(frame)) = Pin::new(&mut reading).poll_frame(&mut cx) {
            sent.extend_from_slice(&frame.unwrap().into_data().unwrap());
        }
        assert_eq!((sent.as_slice(), reading.size_hint().lower()), (&b"onetwothree"[..], 0));
    }

    #[test]
    fn a_body_that_fails_is_an_error_of_its_kind() {
        let error = |step| read_of([Step::Data(b"one"), step]).unwrap_err();
        assert!(matches!(error(Step::Fail), RequestBodyError::Failed(error) if error.to_string() == "no more"));
        assert!(matches!(error(Step::Trailers), RequestBodyError::Trailers));
        assert!(matches!(error(Step::Panic), RequestBodyError::Panicked));
    }
}
