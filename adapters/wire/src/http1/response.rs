//! What was received: [`Response`].

/// A whole response, in the buffer that was lent for it.
#[derive(Clone, Copy, Debug)]
pub struct Response<'b> {
    pub(super) status: u16,
    pub(super) keep_alive: bool,
    /// The head, which has been found to be one.
    pub(super) head: &'b [u8],
    pub(super) body: &'b [u8],
}

impl<'b> Response<'b> {
    /// The status, from 200 to 999: what is above 599 is a server's error like 500 (RFC 9110, 15).
    #[must_use]
    pub fn status(&self) -> u16 {
        self.status
    }

    /// The value of the first header of that name, in any case, without the spaces around it. Looks through the head.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&'b [u8]> {
        self.headers().find(|(field, _)| field.eq_ignore_ascii_case(name.as_bytes())).map(|(_, value)| value)
    }

    /// Names, which are ASCII, and values, in order. As bytes: to make text of names takes 600 bytes of code on a
    /// microcontroller.
    #[must_use]
    pub fn headers(&self) -> Headers<'b> {
        let mut headers = Headers { lines: self.head };
        headers.next_line();
        headers
    }

    /// The body: empty if there is none, joined if it came in chunks.
    #[must_use]
    pub fn body(&self) -> &'b [u8] {
        self.body
    }

    /// Whether the peer takes another request on this connection, unless the last one asked it not to: its version and
    /// its `connection` header allow it, its body ended before the connection did, and nothing came after it.
    #[must_use]
    pub fn keep_alive(&self) -> bool {
        self.keep_alive
    }

    /// Where it lies in its buffer, to be found there again.
    #[must_use]
    pub fn layout(&self) -> Layout {
        Layout { status: self.status, keep_alive: self.keep_alive, head: self.head.len(), body: self.body.len() }
    }
}

/// Where a [`Response`] lies in its buffer. A value that owns the buffer keeps this, since it cannot keep a borrow of itself.
///
/// ```
/// use hedge_wire::http1::{Layout, Progress, Receiver};
///
/// struct Reply {
///     buffer: [u8; 256],
///     layout: Layout,
/// }
///
/// # let wire = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";
/// let mut buffer = [0; 256];
/// let mut receiver = Receiver::new(&mut buffer, false);
/// receiver.space()[..wire.len()].copy_from_slice(wire);
/// assert_eq!(receiver.received(wire.len())?, Progress::Done);
/// let layout = receiver.response().ok_or("not done")?.layout();
/// let reply = Reply { buffer, layout };
/// assert_eq!(reply.layout.of(&reply.buffer).ok_or("short")?.body(), b"hello");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Layout {
    pub(super) status: u16,
    pub(super) keep_alive: bool,
    /// Bytes of the head, which the body follows.
    pub(super) head: usize,
    pub(super) body: usize,
}

impl Layout {
    /// The status.
    #[must_use]
    pub fn status(&self) -> u16 {
        self.status
    }

    /// The response in the buffer that it was received into, which must be unchanged since; `None` if the buffer is shorter.
    #[must_use]
    pub fn of<'b>(&self, buffer: &'b [u8]) -> Option<Response<'b>> {
        let (head, rest) = buffer.split_at_checked(self.head)?;
        Some(Response { status: self.status, keep_alive: self.keep_alive, head, body: rest.get(..self.body)? })
    }
}

/// The headers of a [`Response`]: names and values, in order.
#[derive(Clone, Debug)]
pub struct Headers<'b> {
    lines: &'b [u8],
}

impl<'b> Headers<'b> {
    /// A line without what ends it; `None` at the empty one that ends the head.
    fn next_line(&mut self) -> Option<&'b [u8]> {
        let end = self.lines.iter().position(|&byte| byte == b'\n')?;
        let (line, rest) = self.lines.split_at_checked(end)?;
        self.lines = rest.get(1..)?;
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        (!line.is_empty()).then_some(line)
    }
}

impl<'b> Iterator for Headers<'b> {
    type Item = (&'b [u8], &'b [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let line = self.next_line()?;
        let colon = line.iter().position(|&byte| byte == b':')?;
        let (name, value) = line.split_at_checked(colon)?;
        Some((name, value.get(1..)?.trim_ascii()))
    }
}
