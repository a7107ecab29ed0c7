//! Lists with a bound: [`Lines`].

use hedge_fleet::{AddressError, LineError, Server, Update};

use crate::client::{Fault, Secrets};

/// The most servers of a list.
pub(crate) const MOST_SERVERS: usize = 100_000;
/// How many bad lines are reported.
const MOST_REJECTED: usize = 100;
/// How many characters of a bad line are kept.
const KEPT: usize = 80;

/// A list that is being read. It has at most 100,000 servers, and it reports the first 100 lines that are bad. The
/// reported lines do not show the secrets that were sent.
pub(crate) struct Lines<'a> {
    secrets: &'a Secrets,
    servers: Vec<Server>,
    rejected: Vec<(usize, LineError)>,
}

impl<'a> Lines<'a> {
    /// An empty list.
    pub(crate) const fn new(secrets: &'a Secrets) -> Self {
        Self { secrets, servers: Vec::new(), rejected: Vec::new() }
    }

    /// Reads the servers of a text, one in each line, as [`Update::from_bytes`] does.
    pub(crate) fn read(bytes: &[u8], secrets: &'a Secrets) -> Result<Self, Fault> {
        let (mut lines, mut start) = (Self::new(secrets), 0);
        for (line, number) in bytes.split(|byte| *byte == b'\n').zip(1..) {
            // One line at a time, so that a list that is too long is not read whole. All lines but the first come with the
            // end of the line before, so that a byte order mark is skipped only at the start of the text.
            let end = start + line.len();
            let one = bytes.get(usize::saturating_sub(start, 1)..end).unwrap_or(line);
            start = end + 1;
            let Update::Reset { servers, rejected } = Update::from_bytes(one) else { continue };
            for server in servers {
                lines.push(server)?;
            }
            for (_, error) in rejected {
                let line = line.split(|byte| *byte == b'#').next().unwrap_or_default();
                lines.reject(number, error, || String::from_utf8_lossy(line).trim().to_owned());
            }
        }
        Ok(lines)
    }

    /// Adds a server, or the reason why a line is not one. `text` is the line.
    pub(crate) fn add(
        &mut self,
        number: usize,
        server: Result<Server, AddressError>,
        text: impl FnOnce() -> String,
    ) -> Result<(), Fault> {
        match server {
            Ok(server) => self.push(server)?,
            Err(error) => self.reject(number, LineError::Server { line: "".into(), error }, text),
        }
        Ok(())
    }

    fn push(&mut self, server: Server) -> Result<(), Fault> {
        if self.servers.len() >= MOST_SERVERS {
            return Err(too_many());
        }
        self.servers.push(server);
        Ok(())
    }

    /// Reports a bad line. Its text is `text` without the secrets. They are removed before the text is cut, since the start
    /// of a secret is a secret too.
    fn reject(&mut self, number: usize, mut error: LineError, text: impl FnOnce() -> String) {
        if self.rejected.len() >= MOST_REJECTED {
            return;
        }
        if let LineError::Server { line, .. } | LineError::Encoding { line } = &mut error {
            *line = shown(text(), self.secrets).into();
        }
        self.rejected.push((number, error));
    }

    pub(crate) fn into_update(self) -> Update {
        Update::Reset { servers: self.servers, rejected: self.rejected }
    }
}

/// The start of a bad line, without the secrets.
pub(crate) fn shown(line: String, secrets: &Secrets) -> String {
    secrets.without(line).chars().take(KEPT).collect()
}

/// The fault of a list that has too many servers.
pub(crate) fn too_many() -> Fault {
    Fault::Content(format!("the list has more than {MOST_SERVERS} servers"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use hedge_link::Credential;

    fn read(bytes: &[u8]) -> Result<Update, Fault> {
        Lines::read(bytes, &Secrets::default()).map(Lines::into_update)
    }

    #[test]
    fn n2_lines_are_read_as_fleet_reads_them() {
        let text =
            b"\xef\xbb\xbf10.0.0.1:80 canary\r\n\n# the old one: caf\xe9\n10.0.0.2\n[::1]:1 #x\n10.0.0.3:80 caf\xe9
            \n\xef\xbb\xbf10.0.0.4:80\n10.0.0.5:80";
        let Ok(Update::Reset { servers, rejected }) = read(text) else { unreachable!() };
        assert_eq!((servers.len(), rejected.len()), (3, 3), "{rejected:?}");
        assert_eq!(Update::Reset { servers, rejected }, Update::from_bytes(text));
    }

    #[test]
    fn n2_a_list_and_its_bad_lines_are_bounded() {
        assert!(read("10.0.0.1:80\n".repeat(MOST_SERVERS).as_bytes()).is_ok());
        assert!(read("10.0.0.1:80\n".repeat(MOST_SERVERS + 1).as_bytes()).is_err());
        let Ok(Update::Reset { rejected, .. }) = read("x\n".repeat(1_000_000).as_bytes()) else { unreachable!() };
        assert_eq!(rejected.len(), MOST_REJECTED);
    }

    #[test]
    fn n1_a_bad_line_does_not_show_a_secret() {
        let mut secrets = Secrets::default();
        secrets.remember([Credential::new("Bearer t0ken-MARKER")].iter());
        let text = format!("Bearer t0ken-MARKER\n{}t0ken-MARKER\nt0ken-MARKER caf\u{fffd}\n", "x".repeat(75));
        let text = text.replace('\u{fffd}', "?").into_bytes();
        let text: Vec<u8> = text.into_iter().map(|byte| if byte == b'?' { 0xe9 } else { byte }).collect();
        let Ok(lines) = Lines::read(&text, &secrets) else { unreachable!() };
        let Update::Reset { rejected, .. } = lines.into_update() else { unreachable!() };
        let texts: Vec<_> = rejected.iter().map(|(_, error)| error.to_string()).collect();
        assert_eq!(texts.len(), 3);
        assert!(texts.iter().all(|text| text.contains("(hid") && !text.contains("t0ken")), "{texts:?}");
    }
}
