//! The meta commands: [`run`].

use std::error::Error;

use fastrand::Rng;
use hedge_wire::memcached::meta::{Flag, Mode, Operation, Request, Response, Status};
use hedge_wire::memcached::{Key, MAX_KEY, Progress, binary};

use super::super::connection::Connection;
use super::super::program::Program;
use super::super::same;
use super::{BATCH, Held, draw};

/// The largest value that is accepted, in bytes.
const LIMIT: usize = 1 << 20;

/// An answer: its status, its value, its key, and the opaque.
type Answer = (Status, Option<Vec<u8>>, Option<Vec<u8>>, Option<Vec<u8>>);

/// Returns how many requests were sent.
pub(in super::super) fn run(requests: u64, rng: &mut Rng) -> Result<u64, Box<dyn Error>> {
    let server = Program::memcached()?;
    let mut connection = Connection::open(server.address, rng)?;
    let mut held = Held::new();
    let mut sent = 0;
    while sent < requests {
        let batch = BATCH.min(requests - sent);
        let mut out = Vec::new();
        let mut expected = Vec::new();
        for number in 0..batch {
            let begin = out.len();
            if let Some(answer) = request(rng, &mut held, &mut out, &(sent + number).to_string())? {
                expected.push((out.get(begin..).unwrap_or(&[]).to_vec(), answer));
            }
        }
        Request { operation: Operation::NoOp, flags: &[] }.append(&mut out)?;
        expected.push((b"mn".to_vec(), (Status::NoOp, None, None, None)));
        connection.send(&out)?;
        for (bytes, answer) in &expected {
            same(&String::from_utf8_lossy(bytes), &next(&mut connection)?, answer)?;
        }
        sent += batch;
    }
    rest(&mut connection)?;
    both(&mut connection, &mut Connection::open(server.address, rng)?)?;
    Ok(sent)
}

/// The next answer.
fn next(connection: &mut Connection) -> Result<Answer, Box<dyn Error>> {
    take(connection, |answer| {
        let key = answer.key(&mut [0; MAX_KEY]).map(<[u8]>::to_vec);
        (answer.status(), answer.value().map(<[u8]>::to_vec), key, answer.token(b'O').map(<[u8]>::to_vec))
    })
}

fn take<T>(connection: &mut Connection, take: impl Fn(&Response<'_>) -> T) -> Result<T, Box<dyn Error>> {
    loop {
        match Response::decode(connection.received(), LIMIT)? {
            Progress::Done { response, length } => {
                let taken = take(&response);
                connection.drop_first(length);
                return Ok(taken);
            }
            Progress::More { .. } => connection.read()?,
        }
    }
}

/// Draws a request, appends it, and changes the model. Returns the answer that must come; `None` if the server keeps
/// silent.
fn request(rng: &mut Rng, held: &mut Held, out: &mut Vec<u8>, opaque: &str) -> Result<Option<Answer>, Box<dyn Error>> {
    let (name, value) = draw(rng);
    // Half of the keys go in base64: the server must take them for the same keys.
    let key = if rng.bool() { Key::new(&name)? } else { Key::binary(&name)? };
    let before = held.get(&name).cloned();
    let number = rng.u32(..);
    let mut flags = vec![Flag::Opaque(opaque.as_bytes()), Flag::Key];
    let is_quiet = rng.u8(..4) == 0;
    if is_quiet {
        flags.push(Flag::Quiet);
    }
    let (operation, status, found) = match rng.u8(..8) {
        kind @ 0..=4 => {
            let held_value = before.as_ref().map(|(value, _)| &value[..]);
            let (mode, stored) = match kind {
                0 => (Mode::Set, Some(value.clone())),
                1 => (Mode::Add, before.is_none().then(|| value.clone())),
                2 => (Mode::Replace, before.as_ref().map(|_| value.clone())),
                3 => (Mode::Append, held_value.map(|held| [held, &value].concat())),
                _ => (Mode::Prepend, held_value.map(|held| [&value, held].concat())),
            };
            let status = if stored.is_some() { Status::Done } else { Status::NotStored };
            if let Some(stored) = stored {
                let number = if kind < 3 { number } else { before.map_or(0, |(_, number)| number) };
                held.insert(name.clone(), (stored, number));
            }
            flags.extend([Flag::Mode(mode), Flag::SetClientFlags(number)]);
            (Operation::Set { key, value: &value }, status, None)
        }
        5 => {
            let status = if held.remove(&name).is_some() { Status::Done } else { Status::NotFound };
            (Operation::Delete { key }, status, None)
        }
        _ => {
            flags.push(Flag::Value);
            let found = before.map(|(value, _)| value);
            (Operation::Get { key }, if found.is_some() { Status::Value } else { Status::Miss }, found)
        }
    };
    Request { operation, flags: &flags }.append(out)?;
    let is_usual = match operation {
        Operation::Get { .. } => status == Status::Miss,
        _ => status == Status::Done,
    };
    Ok((!is_quiet || !is_usual).then(|| (status, found, Some(name), Some(opaque.into()))))
}

/// Flags that need no model.
fn rest(connection: &mut Connection) -> Result<(), Box<dyn Error>> {
    let mut call = |operation: Operation<'_>, flags: &[Flag<'_>]| {
        let mut out = Vec::new();
        Request { operation, flags }.append(&mut out)?;
        connection.send(&out)?;
        take(connection, |answer| {
            let flags: Vec<_> = answer
                .flags()
                .map(|(letter, token)| (char::from(letter), String::from_utf8_lossy(token).into_owned()))
                .collect();
            (answer.status(), answer.value().map(<[u8]>::to_vec), flags)
        })
    };
    let key = Key::new(b"counter")?;
    let count = Operation::Arithmetic { key };
    same(&"no counter", &call(count, &[])?.0, &Status::NotFound)?;
    for (flags, expected) in [
        (&[Flag::Initial(10), Flag::Vivify(0), Flag::Value][..], "10"),
        (&[Flag::Delta(5), Flag::Value], "15"),
        (&[Flag::Delta(100), Flag::Mode(Mode::Decrement), Flag::Value], "0"),
    ] {
        same(&flags, &call(count, flags)?.1, &Some(expected.as_bytes().to_vec()))?;
    }
    let (status, _, flags) =
        call(Operation::Get { key }, &[Flag::Cas, Flag::Size, Flag::Remaining, Flag::Hit, Flag::ClientFlags])?;
    let cas = flags.iter().find(|(letter, _)| *letter == 'c').ok_or("no cas")?.1.parse::<u64>()?;
    same(&"flags", &(status, flags.len()), &(Status::Done, 5))?;
    let set = Operation::Set { key, value: b"x" };
    same(&"another cas", &call(set, &[Flag::Compare(cas + 1)])?.0, &Status::Exists)?;
    same(&"the cas", &call(set, &[Flag::Compare(cas)])?.0, &Status::Done)?;
    same(&"not a counter", &call(count, &[])?.0, &Status::ClientError)?;
    same(&"a value too large", &call(Operation::Set { key, value: &[b'x'; 2 << 20] }, &[])?.0, &Status::ServerError)?;
    // The server tells one client to write the value again, and tells the next client that another client does so.
    let lease = Operation::Get { key: Key::new(b"lease")? };
    let flags = [Flag::Vivify(30), Flag::Value];
    same(&"the first", &call(lease, &flags)?, &(Status::Value, Some(Vec::new()), vec![('W', String::new())]))?;
    same(&"the next", &call(lease, &flags)?, &(Status::Value, Some(Vec::new()), vec![('Z', String::new())]))?;
    same(&"what is known", &call(Operation::Debug { key: Key::new(b"lease")? }, &[])?.0, &Status::Debug)
}

/// A key of any bytes is one key in both protocols.
fn both(connection: &mut Connection, other: &mut Connection) -> Result<(), Box<dyn Error>> {
    let key = Key::binary(b"a\r\n \0\xff")?;
    let mut out = Vec::new();
    Request { operation: Operation::Set { key, value: b"one key" }, flags: &[Flag::SetClientFlags(7)] }
        .append(&mut out)?;
    connection.send(&out)?;
    same(&"a key of any bytes", &next(connection)?.0, &Status::Done)?;

    let operation = binary::Operation::Get { key, with_key: true };
    let request = binary::Request { operation, is_quiet: false, opaque: 9 };
    out.clear();
    request.append(&mut out)?;
    other.send(&out)?;
    loop {
        match binary::Response::decode(other.received(), LIMIT)? {
            Progress::Done { response, .. } => {
                let came = (response.answers(&request), response.key(), response.value(), response.flags());
                return same(&operation, &came, &(true, key.bytes(), &b"one key"[..], Some(7)));
            }
            Progress::More { .. } => other.read()?,
        }
    }
}
