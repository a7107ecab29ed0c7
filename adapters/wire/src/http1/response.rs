//! A response that was received: [`Response`].

/// A complete response. It borrows from the buffer that the caller has lent.
#[derive(Clone, Copy, Debug)]
pub struct Response<'b> {
    pub(super) status: u16,
    pub(super) keep_alive: bool,
    /// The head, which has been parsed and is valid.
    pub(super) head: &'b [u8],
    pub(super) body: &'b [u8],
}

impl<'b> Response<'b> {
    /// The status, from 200 to 999. A status above 599 means a server error, as 500 does (RFC 9110, 15).
    #[must_use]
    pub fn status(&self) -> u16 {
        self.status
    }

    /// The value of the first header with this name, without the spaces around it. Upper and lower case are the same.
    /// This searches through the head.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&'b [u8]> {
        self.headers().find(|(field, _)| field.eq_ignore_ascii_case(name.as_bytes())).map(|(_, value)| value)
    }

    /// The names and values of all headers, in order. The names are ASCII. They are bytes, not text, since the
    /// conversion to text takes 600 bytes of code on a microcontroller.
    #[must_use]
    pub fn headers(&self) -> Headers<'b> {
        let mut headers = Headers { lines: self.head };
        headers.next_line();
        headers
    }

    /// The body. It is empty if there is none. If it came in chunks, they are joined.
    #[must_use]
    pub fn body(&self) -> &'b [u8] {
        self.body
    }

    /// Whether the peer keeps the connection for another request. True if the version and the `connection` header of
    /// the response allow that, the body ended before the connection, and nothing came after the body. If the request
    /// has asked the peer to close the connection, do not use the connection again, even if this is true.
    #[must_use]
    pub fn keep_alive(&self) -> bool {
        self.keep_alive
    }

    /// Where the response lies in its buffer. With this, [`Layout::of`] finds the response there again.
    #[must_use]
    pub fn layout(&self) -> Layout {
        Layout { status: self.status, keep_alive: self.keep_alive, head: self.head.len(), body: self.body.len() }
    }
}

/// Where a [`Response`] lies in its buffer. A value that owns the buffer keeps the layout instead of the response,
/// since a value cannot borrow from itself.
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
    /// The length of the head in bytes. The body follows the head.
    pub(super) head: usize,
    pub(super) body: usize,
}

impl Layout {
    /// The status of the response, from 200 to 999.
    #[must_use]
    pub fn status(&self) -> u16 {
        self.status
    }

    /// The response in `buffer`, into which it was received. The buffer must not have changed since. `None` if the
    /// buffer is too short.
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
    /// The next line, without its line end. `None` at the empty line that ends the head.
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
