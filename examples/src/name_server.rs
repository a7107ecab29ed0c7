//! A small DNS server within the process, for examples: [`NameServer`].

use std::io;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

/// The types of records that it knows.
const A: [u8; 2] = [0, 1];
const SRV: [u8; 2] = [0, 33];
/// The flags of an answer.
const FLAGS: [u8; 2] = [0x85, 0x80];
/// The name in a record: a pointer to the name in the question, which is at byte 12.
const SAME_NAME: [u8; 2] = [0xc0, 12];
/// The class of every record, which is the internet, and its time to live, which is 1 s.
const INTERNET_1_S: [u8; 6] = [0, 1, 0, 0, 0, 1];

/// A DNS server on a loopback port of its own. It has one service, whose servers all run on loopback: every SRV question is
/// answered by their ports, and every A question by 127.0.0.1. Dropping it ends it.
#[derive(Debug)]
pub struct NameServer {
    address: SocketAddr,
    ports: Arc<Mutex<Vec<u16>>>,
    closed: Arc<AtomicBool>,
}

impl NameServer {
    /// Starts a server whose service has these servers.
    ///
    /// # Errors
    /// The operating system gives no port or no thread.
    pub fn start(servers: impl IntoIterator<Item = SocketAddr>) -> io::Result<Self> {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
        let (address, closed) = (socket.local_addr()?, Arc::new(AtomicBool::new(false)));
        let started = Self { address, ports: Arc::default(), closed: Arc::clone(&closed) };
        started.set(servers);
        let ports = Arc::clone(&started.ports);
        thread::Builder::new().name("name server".into()).spawn(move || {
            let mut question = [0; 512];
            while !closed.load(Ordering::SeqCst) {
                let Ok((length, from)) = socket.recv_from(&mut question) else { continue };
                let ports = ports.lock().unwrap_or_else(PoisonError::into_inner).clone();
                if let Some(answer) = question.get(..length).and_then(|question| answer(question, &ports)) {
                    // An error is ignored: the client has gone, and needs no answer.
                    let _ = socket.send_to(&answer, from);
                }
            }
        })?;
        Ok(started)
    }

    /// Returns the address at which the server listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Replaces the servers of the service.
    pub fn set(&self, servers: impl IntoIterator<Item = SocketAddr>) {
        let ports = servers.into_iter().map(|server| server.port()).collect();
        *self.ports.lock().unwrap_or_else(PoisonError::into_inner) = ports;
    }
}

impl Drop for NameServer {
    fn drop(&mut self) {
        self.closed.store(true, Ordering::SeqCst);
        // Wakes the thread. If that fails, it ends with the process.
        let _ = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|socket| socket.send_to(&[], self.address));
    }
}

/// Returns the answer to a question. Returns `None` if the bytes are not a question.
fn answer(question: &[u8], ports: &[u16]) -> Option<Vec<u8>> {
    let name_length = question.get(12..)?.iter().position(|byte| *byte == 0)?;
    let end = 12 + name_length + 5;
    let kind = question.get(end - 4..end - 2)?;
    let records: Vec<Vec<u8>> = if kind == SRV {
        // Priority, weight, port, and the target. The target may be any name.
        let record = |port: &u16| [&[0, 1, 0, 1][..], &port.to_be_bytes(), b"\x04host\x04test\0"].concat();
        ports.iter().map(record).collect()
    } else if kind == A {
        vec![Ipv4Addr::LOCALHOST.octets().to_vec()]
    } else {
        Vec::new()
    };
    let count = u16::try_from(records.len()).ok()?.to_be_bytes();
    let mut answer = [question.get(..2)?, &FLAGS, &[0, 1], &count, &[0; 4], question.get(12..end)?].concat();
    for record in records {
        let length = u16::try_from(record.len()).ok()?.to_be_bytes();
        answer.extend([&SAME_NAME, kind, &INTERNET_1_S, &length, &record].concat());
    }
    Some(answer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_gets_its_records() {
        let question = |kind: u8| [b"\x12\x34\x01\0\0\x01\0\0\0\0\0\0\x01a\x04test\0\0", &[kind, 0, 1][..]].concat();
        let srv = answer(&question(33), &[80, 0x1234]).unwrap();
        assert_eq!((&srv[..2], srv[7]), (&b"\x12\x34"[..], 2));
        assert!(srv.ends_with(b"\0\x11\0\x01\0\x01\x12\x34\x04host\x04test\0"));
        assert!(answer(&question(1), &[]).unwrap().ends_with(&[0, 4, 127, 0, 0, 1]));
        assert_eq!(answer(&question(28), &[80]).unwrap()[7], 0, "there is no IPv6");
        assert_eq!(answer(&question(1)[..20], &[]), None);
        assert_eq!(answer(b"", &[]), None);
    }
}
