//! The binary protocol: [`run`].

use std::error::Error;

use fastrand::Rng;
use hedge_wire::memcached::binary::{Found, GetMany, Operation, Request, Response, Status, Store};
use hedge_wire::memcached::{Key, Progress};

use super::super::connection::Connection;
use super::super::program::Program;
use super::super::same;
use super::{BATCH, Held, draw};

/// The largest answer that is accepted, in bytes.
const LIMIT: usize = 1 << 20;

/// An answer: its status, its value, and its flags if it has some.
type Answer = (Status, Vec<u8>, Option<u32>);

/// A request, and the answer that must come.
type Pair = (Vec<u8>, u8, u32, Answer);

/// Returns how many requests were sent.
pub(in super::super) fn run(requests: u64, rng: &mut Rng) -> Result<u64, Box<dyn Error>> {
    let server = Program::memcached()?;
    let mut connection = Connection::open(server.address, rng)?;
    let mut held = Held::new();
    let mut sent = 0;
    while sent < requests {
        let batch = BATCH.min(requests - sent);
        let mut out = Vec::new();
        let mut expected: Vec<Pair> = Vec::new();
        for _ in 0..batch {
            let begin = out.len();
            let opaque = rng.u32(..);
            let (operation, answer) = request(rng, &mut held, &mut out, opaque)?;
            expected.push((out.get(begin..).unwrap_or(&[]).to_vec(), operation, opaque, answer));
        }
        connection.send(&out)?;
        for (bytes, opcode, opaque, answer) in &expected {
            let sent = String::from_utf8_lossy(bytes);
            let came = next(&mut connection, |answer| {
                ((answer.status(), answer.value().to_vec(), answer.flags()), answer.opcode().number(), answer.opaque())
            })?;
            same(&sent, &came, &(answer.clone(), *opcode, *opaque))?;
        }
        sent += batch;
    }
    many(&mut connection, rng, &held)?;
    rest(&mut connection)?;
    Ok(sent)
}

/// The next answer.
fn next<T>(connection: &mut Connection, take: impl Fn(&Response<'_>) -> T) -> Result<T, Box<dyn Error>> {
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

/// Draws a request, appends it, and changes the model. Returns its number and the answer that must come.
fn request(rng: &mut Rng, held: &mut Held, out: &mut Vec<u8>, opaque: u32) -> Result<(u8, Answer), Box<dyn Error>> {
    let (name, value) = draw(rng);
    let key = Key::new(&name)?;
    let before = held.get(&name).cloned();
    let flags = rng.u32(..);
    let good = |value: &[u8], flags| (Status::Ok, value.to_vec(), flags);
    let bad = |status, text: &str| (status, text.as_bytes().to_vec(), None);
    let is_there = before.is_some();
    let (operation, answer) = match rng.u8(..9) {
        kind @ 0..=2 => {
            let (store, is_stored, error) = match kind {
                0 => (Store::Set, true, bad(Status::NotStored, "")),
                1 => (Store::Add, !is_there, bad(Status::Exists, "Data exists for key.")),
                _ => (Store::Replace, is_there, bad(Status::NotFound, "Not found")),
            };
            if is_stored {
                held.insert(name.clone(), (value.clone(), flags));
            }
            (
                Operation::Store { store, key, value: &value, flags, expires: 0, cas: 0 },
                if is_stored { good(b"", None) } else { error },
            )
        }
        kind @ 3..=4 => {
            let answer = if is_there { good(b"", None) } else { bad(Status::NotStored, "Not stored.") };
            if let Some((before, flags)) = before {
                let joined = if kind == 3 { [&before[..], &value].concat() } else { [&value[..], &before].concat() };
                held.insert(name.clone(), (joined, flags));
            }
            let (value, cas) = (&value[..], 0);
            (
                if kind == 3 { Operation::Append { key, value, cas } } else { Operation::Prepend { key, value, cas } },
                answer,
            )
        }
        5 => {
            held.remove(&name);
            (
                Operation::Delete { key, cas: 0 },
                if is_there { good(b"", None) } else { bad(Status::NotFound, "Not found") },
            )
        }
        kind => {
            let with_key = kind == 6;
            let found = |(value, flags): &(Vec<u8>, u32)| good(value, Some(*flags));
            // If the key is asked for, it takes the place of the text.
            let text = if with_key { "" } else { "Not found" };
            let answer = before.as_ref().map_or(bad(Status::NotFound, text), found);
            let read = Operation::Get { key, with_key };
            (if kind == 8 { Operation::GetAndTouch { key, expires: 0, with_key } } else { read }, answer)
        }
    };
    let request = Request { operation, is_quiet: false, opaque };
    request.append(out)?;
    Ok((request.opcode().ok_or("no opcode")?.number(), answer))
}

/// All keys at once.
fn many(connection: &mut Connection, rng: &mut Rng, held: &Held) -> Result<(), Box<dyn Error>> {
    let names: Vec<_> = (0..24).map(|number| format!("key:{number}").into_bytes()).collect();
    let keys: Vec<_> = names.iter().map(|name| Key::new(name)).collect::<Result<_, _>>()?;
    let request = GetMany { keys: &keys, opaque: rng.u32(..) };
    let mut out = Vec::new();
    request.append(&mut out)?;
    connection.send(&out)?;
    let mut found = Held::new();
    loop {
        let (which, value, flags) =
            next(connection, |answer| (request.found(answer), answer.value().to_vec(), answer.flags()))?;
        match which {
            Some(Found::End) => break,
            Some(Found::Key(index)) => {
                let name = names.get(index).ok_or("no such key")?;
                found.insert(name.clone(), (value, flags.ok_or("no flags")?));
            }
            other => return Err(format!("many keys were answered with {other:?}").into()),
        }
    }
    same(&"many keys", &found, held)
}

/// Counters, cas numbers, and the operations that need no model.
fn rest(connection: &mut Connection) -> Result<(), Box<dyn Error>> {
    let mut call = |operation: Operation<'_>| {
        let mut out = Vec::new();
        Request { operation, is_quiet: false, opaque: 1 }.append(&mut out)?;
        connection.send(&out)?;
        next(connection, |answer| (answer.status(), answer.counter(), answer.value().to_vec(), answer.cas()))
    };
    let key = Key::new(b"counter")?;
    for (operation, status, counter) in [
        (Operation::Increment { key, delta: 5, initial: None }, Status::NotFound, None),
        (Operation::Increment { key, delta: 5, initial: Some((10, 0)) }, Status::Ok, Some(10)),
        (Operation::Increment { key, delta: 5, initial: Some((10, 0)) }, Status::Ok, Some(15)),
        (Operation::Decrement { key, delta: 100, initial: None }, Status::Ok, Some(0)),
        (Operation::Touch { key, expires: 100 }, Status::Ok, None),
        (Operation::Flush { after: 1000 }, Status::Ok, None),
        (Operation::SaslList, Status::UnknownCommand, None),
    ] {
        let (came, count, ..) = call(operation)?;
        same(&operation, &(came, count), &(status, counter))?;
    }
    let store = |value, cas| Operation::Store { store: Store::Set, key, value, flags: 0, expires: 0, cas };
    let (.., cas) = call(store(b"x", 0))?;
    same(&"another cas", &call(store(b"y", cas + 1))?.0, &Status::Exists)?;
    same(&"the cas", &call(store(b"y", cas))?.0, &Status::Ok)?;
    same(&"no counter", &call(Operation::Increment { key, delta: 1, initial: None })?.0, &Status::NotNumeric)?;
    same(&"too large", &call(store(&[0; 2 << 20], 0))?.0, &Status::TooLarge)?;
    let (status, _, version, _) = call(Operation::Version)?;
    same(&"a version", &(status, version.starts_with(b"1.")), &(Status::Ok, true))?;
    same(&"a no-op", &call(Operation::NoOp)?.0, &Status::Ok)
}
