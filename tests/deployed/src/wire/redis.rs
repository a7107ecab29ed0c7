//! One redis-server: a pipeline of random commands that is compared with a model, all types of replies, and errors:
//! [`run`].

use std::collections::HashMap;
use std::error::Error;
use std::net::SocketAddr;
use std::path::Path;

use fastrand::Rng;
use hedge_wire::resp::{Code, Command, Follower, Kind, Limits, Progress, Remedy, Reply, ServerError, Value};

use super::connection::Connection;
use super::program::Program;
use super::same;

/// How many commands are sent before their replies are read.
const BATCH: u64 = 64;

/// A version of the protocol.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Version {
    Resp2,
    Resp3,
}

/// A connection that sends commands and cuts replies.
#[derive(Debug)]
pub(super) struct Client {
    connection: Connection,
    follower: Follower,
    /// How many of the received bytes have been followed.
    followed: usize,
    pushes: Vec<Value>,
}

impl Client {
    /// # Errors
    /// The server does not accept.
    pub(super) fn open(address: SocketAddr, rng: &mut Rng) -> Result<Self, Box<dyn Error>> {
        let connection = Connection::open(address, rng)?;
        Ok(Self { connection, follower: Follower::new(Limits::default()), followed: 0, pushes: Vec::new() })
    }

    /// Sends a command and reads its reply.
    ///
    /// # Errors
    /// The connection breaks, or what comes is no reply.
    pub(super) fn call(&mut self, parts: &[&str]) -> Result<Value, Box<dyn Error>> {
        let parts: Vec<_> = parts.iter().map(|part| part.as_bytes()).collect();
        let mut out = Vec::new();
        Command::new(&parts)?.append(&mut out);
        self.connection.send(&out)?;
        self.reply()
    }

    /// Sends a command whose reply must be this.
    pub(super) fn expect(&mut self, parts: &[&str], expected: &Value) -> Result<(), Box<dyn Error>> {
        same(&parts, &self.call(parts)?, expected)
    }

    /// Sends a command whose reply must be an error with this code. Returns its text.
    pub(super) fn refused(&mut self, parts: &[&str], code: Code, remedy: Remedy) -> Result<Vec<u8>, Box<dyn Error>> {
        let Value::Error(text) = self.call(parts)? else { return Err(format!("{parts:?} was accepted").into()) };
        let error = ServerError::new(&text);
        same(&(parts, &error), &(error.code(), error.remedy()), &(code, remedy))?;
        Ok(text.into())
    }

    /// The next reply. Pushes before it are kept.
    fn reply(&mut self) -> Result<Value, Box<dyn Error>> {
        loop {
            let received = self.connection.received();
            let (used, is_push) = match self.follower.follow(received.get(self.followed..).unwrap_or(&[]))? {
                Progress::Reply(used) => (used, false),
                Progress::Push(used) => (used, true),
                Progress::More => {
                    self.followed = received.len();
                    self.connection.read()?;
                    continue;
                }
            };
            let end = self.followed + used;
            let value = Value::from(Reply::parse(received.get(..end).unwrap_or(&[]), Limits::default())?);
            self.connection.drop_first(end);
            self.followed = 0;
            if !is_push {
                return Ok(value);
            }
            self.pushes.push(value);
        }
    }
}

pub(super) fn text(text: &str) -> Box<[u8]> {
    text.as_bytes().into()
}

pub(super) fn ok() -> Value {
    Value::Simple(text("OK"))
}

/// Returns how many commands were sent.
pub(super) fn run(version: Version, commands: u64, rng: &mut Rng, home: &Path) -> Result<u64, Box<dyn Error>> {
    let server = Program::redis(home, false)?;
    let mut client = Client::open(server.address, rng)?;
    if version == Version::Resp3 {
        let Value::Map(hello) = client.call(&["HELLO", "3"])? else { return Err("HELLO 3 is refused".into()) };
        let proto = hello.iter().find(|(name, _)| *name == Value::Bulk(text("proto")));
        same(&"HELLO 3", &proto.map(|(_, value)| value), &Some(&Value::Integer(3)))?;
    }
    let mut model = Model::default();
    let mut sent = 0;
    while sent < commands {
        let batch = BATCH.min(commands - sent);
        let mut out = Vec::new();
        let expected: Vec<_> = (0..batch).map(|_| model.draw(rng, &mut out)).collect::<Result<_, _>>()?;
        client.connection.send(&out)?;
        for (parts, value) in &expected {
            same(parts, &client.reply()?, value)?;
        }
        sent += batch;
    }
    types(&mut client, version)?;
    kinds(&mut client)?;
    if version == Version::Resp3 {
        pushes(&mut client, &mut Client::open(server.address, rng)?)?;
    }
    errors(&mut client, &mut Client::open(server.address, rng)?)?;
    Ok(sent)
}

/// The parts of a command, and the reply that must come.
type Pair = (Vec<Vec<u8>>, Value);

/// What the server holds.
#[derive(Debug, Default)]
struct Model {
    strings: HashMap<Vec<u8>, Vec<u8>>,
}

impl Model {
    /// Draws a command, appends it, and changes the model. Returns its parts and the reply that must come.
    fn draw(&mut self, rng: &mut Rng, out: &mut Vec<u8>) -> Result<Pair, Box<dyn Error>> {
        let key = |rng: &mut Rng| format!("key:{}", rng.u8(..24)).into_bytes();
        let (one, other) = (key(rng), key(rng));
        // Any bytes, those of lines and lengths most of all; a few values are larger than a piece.
        let size = if rng.u8(..50) == 0 { rng.usize(..20_000) } else { rng.usize(..30) };
        let value: Vec<_> =
            (0..size).map(|_| if rng.bool() { rng.u8(..) } else { *rng.choice(b"\r\n$*:0").unwrap_or(&0) }).collect();
        let integer = |number: usize| i64::try_from(number).map(Value::Integer);
        let held = self.strings.get(&one).cloned();
        let (parts, expected) = match rng.u8(..8) {
            0 => {
                self.strings.insert(one.clone(), value.clone());
                (vec![b"SET".to_vec(), one, value], ok())
            }
            1 => {
                let joined = [held.unwrap_or_default(), value.clone()].concat();
                let length = integer(joined.len())?;
                self.strings.insert(one.clone(), joined);
                (vec![b"APPEND".to_vec(), one, value], length)
            }
            2 => {
                self.strings.remove(&one);
                (vec![b"DEL".to_vec(), one], integer(usize::from(held.is_some()))?)
            }
            3 => {
                let both = [&one, &other].map(|key| self.held(key)).to_vec();
                (vec![b"MGET".to_vec(), one, other], Value::Array(both))
            }
            4 => (vec![b"STRLEN".to_vec(), one], integer(held.map_or(0, |value| value.len()))?),
            5 => {
                let is_new = held.is_none();
                if is_new {
                    self.strings.insert(one.clone(), value.clone());
                }
                (vec![b"SETNX".to_vec(), one, value], integer(usize::from(is_new))?)
            }
            _ => (vec![b"get".to_vec(), one.clone()], self.held(&one)),
        };
        let slices: Vec<_> = parts.iter().map(Vec::as_slice).collect();
        Command::new(&slices)?.append(out);
        Ok((parts, expected))
    }

    fn held(&self, key: &[u8]) -> Value {
        self.strings.get(key).map_or(Value::Null, |value| Value::Bulk(value.as_slice().into()))
    }
}

/// All types that a server can be made to send.
fn types(client: &mut Client, version: Version) -> Result<(), Box<dyn Error>> {
    let bulk = |words: &str| Value::Bulk(text(words));
    let numbers = || [0, 1, 2].map(Value::Integer).to_vec();
    client.expect(&["DEBUG", "PROTOCOL", "integer"], &Value::Integer(12345))?;
    client.expect(&["DEBUG", "PROTOCOL", "null"], &Value::Null)?;
    client.expect(&["DEBUG", "PROTOCOL", "array"], &Value::Array(numbers()))?;
    client.expect(&["DEBUG", "PROTOCOL", "string"], &bulk("Hello World"))?;
    client.expect(&["DEBUG", "PROTOCOL", "attrib"], &bulk("Some real reply following the attribute"))?;
    let nested = Value::Array(vec![Value::Integer(1), Value::Array(vec![bulk("a"), Value::Array(Vec::new())]), ok()]);
    client.expect(&["EVAL", "return {1, {'a', {}}, redis.status_reply('OK')}", "0"], &nested)?;
    let map = [(0, false), (1, true), (2, false)];
    let (verbatim, big) = ("This is a verbatim\nstring", "1234567999999999999999999999999999999");
    let expected = match version {
        Version::Resp2 => [
            ("double", bulk("3.141")),
            ("set", Value::Array(numbers())),
            (
                "map",
                Value::Array(
                    map.into_iter().flat_map(|(key, value)| [key, i64::from(value)]).map(Value::Integer).collect(),
                ),
            ),
            ("verbatim", bulk(verbatim)),
            ("true", Value::Integer(1)),
            ("false", Value::Integer(0)),
            ("bignum", bulk(big)),
        ],
        Version::Resp3 => [
            ("double", Value::Double("3.141".parse()?)),
            ("set", Value::Set(numbers())),
            ("map", Value::Map(map.map(|(key, value)| (Value::Integer(key), Value::Boolean(value))).into())),
            ("verbatim", Value::Verbatim(text(verbatim))),
            ("true", Value::Boolean(true)),
            ("false", Value::Boolean(false)),
            ("bignum", Value::BigNumber(text(big))),
        ],
    };
    for (name, value) in &expected {
        client.expect(&["DEBUG", "PROTOCOL", name], value)?;
    }
    Ok(())
}

/// Compares what the table of kinds says about each command of the server with the server's own flags.
fn kinds(client: &mut Client) -> Result<(), Box<dyn Error>> {
    let Value::Array(commands) = client.call(&["COMMAND"])? else { return Err("no commands".into()) };
    for command in &commands {
        let Value::Array(parts) = command else { return Err("a command is no array".into()) };
        let [Value::Bulk(name), _, Value::Array(flags) | Value::Set(flags), ..] = &parts[..] else {
            return Err("a command has no flags".into());
        };
        let has = |flag: &str| flags.contains(&Value::Simple(text(flag)));
        let is_right = match (Kind::of(&[name]), &name[..]) {
            // These read nothing of the data.
            (Kind::Read, b"ping" | b"echo" | b"time") => true,
            (Kind::Read, _) => has("readonly"),
            // It blocks with an option, and then counts as blocking.
            (Kind::Other, b"xreadgroup") => true,
            (Kind::Other, b"publish" | b"spublish" | b"pubsub") => !has("blocking"),
            (Kind::Other, _) => !has("blocking") && !has("pubsub"),
            (Kind::Blocking, b"wait" | b"waitaof") => true,
            (Kind::Blocking, _) => has("blocking"),
            (Kind::Script | Kind::Connection, _) => true,
        };
        if !is_right {
            return Err(format!("{} is not {:?}", name.escape_ascii(), Kind::of(&[name])).into());
        }
    }
    same(&"COMMAND", &(commands.len() > 200), &true)
}

/// Pushes come between replies, and are not taken for replies.
fn pushes(client: &mut Client, other: &mut Client) -> Result<(), Box<dyn Error>> {
    let reply = Value::Bulk(text("Some real reply following the push reply"));
    client.expect(&["DEBUG", "PROTOCOL", "push"], &reply)?;
    let usage = Value::Push(vec![Value::Bulk(text("server-cpu-usage")), Value::Integer(42)]);
    same(&"a push", &client.pushes, &vec![usage])?;
    client.pushes.clear();

    client.expect(&["SET", "tracked", "1"], &ok())?;
    client.expect(&["CLIENT", "TRACKING", "ON"], &ok())?;
    client.expect(&["GET", "tracked"], &Value::Bulk(text("1")))?;
    other.expect(&["SET", "tracked", "2"], &ok())?;
    client.expect(&["PING"], &Value::Simple(text("PONG")))?;
    let keys = Value::Array(vec![Value::Bulk(text("tracked"))]);
    same(&"an invalidation", &client.pushes, &vec![Value::Push(vec![Value::Bulk(text("invalidate")), keys])])?;
    client.expect(&["CLIENT", "TRACKING", "OFF"], &ok())
}

/// Errors that one server can be made to send, and what may help. At the end, the server wants a password.
fn errors(client: &mut Client, other: &mut Client) -> Result<(), Box<dyn Error>> {
    let nothing = Remedy::Nothing;
    client.call(&["RPUSH", "list", "a"])?;
    client.refused(&["GET", "list"], Code::WrongType, nothing)?;
    client.refused(&["NO-SUCH-COMMAND", "a"], Code::Err, nothing)?;
    client.refused(&["EVALSHA", &"a".repeat(40), "0"], Code::NoScript, nothing)?;
    client.expect(&["MULTI"], &ok())?;
    client.refused(&["NO-SUCH-COMMAND"], Code::Err, nothing)?;
    client.refused(&["EXEC"], Code::ExecAbort, nothing)?;
    client.refused(&["HELLO", "9"], Code::NoProto, nothing)?;
    client.refused(&["XREADGROUP", "GROUP", "g", "c", "STREAMS", "no-stream", ">"], Code::NoGroup, nothing)?;
    client.refused(&["AUTH", "nobody", "wrong"], Code::WrongPass, nothing)?;

    client.expect(&["CONFIG", "SET", "maxmemory", "1"], &ok())?;
    let text = client.refused(&["SET", "a", "1"], Code::OutOfMemory, Remedy::Later)?;
    let error = ServerError::new(&text);
    same(
        &"OOM refuses a write, and may not of a script",
        &[Kind::Other, Kind::Script].map(|kind| error.is_refusal(kind)),
        &[true, false],
    )?;
    client.expect(&["CONFIG", "SET", "maxmemory", "0"], &ok())?;
    client.expect(&["CONFIG", "SET", "min-replicas-to-write", "1"], &ok())?;
    client.refused(&["SET", "a", "1"], Code::NoReplicas, Remedy::Later)?;
    client.expect(&["CONFIG", "SET", "min-replicas-to-write", "0"], &ok())?;

    client.expect(&["REPLICAOF", "127.0.0.1", "1"], &ok())?;
    client.refused(&["SET", "a", "1"], Code::ReadOnly, Remedy::Elsewhere)?;
    client.expect(&["CONFIG", "SET", "replica-serve-stale-data", "no"], &ok())?;
    client.refused(&["GET", "a"], Code::MasterDown, Remedy::Elsewhere)?;
    client.expect(&["REPLICAOF", "NO", "ONE"], &ok())?;

    busy(client, other)?;
    client.expect(&["ACL", "SETUSER", "reader", "on", ">pw", "~*", "+get"], &ok())?;
    client.expect(&["AUTH", "reader", "pw"], &ok())?;
    client.refused(&["SET", "a", "1"], Code::NoPerm, nothing)?;
    other.expect(&["CONFIG", "SET", "requirepass", "secret"], &ok())?;
    other.expect(&["RESET"], &Value::Simple(self::text("RESET")))?;
    other.refused(&["GET", "a"], Code::NoAuth, nothing)?;
    Ok(())
}

/// A script that does not end makes the server answer `BUSY`, until it is killed.
fn busy(client: &mut Client, other: &mut Client) -> Result<(), Box<dyn Error>> {
    other.expect(&["CONFIG", "SET", "busy-reply-threshold", "1"], &ok())?;
    let parts: [&[u8]; 3] = [b"EVAL", b"while true do end", b"0"];
    let mut out = Vec::new();
    Command::new(&parts)?.append(&mut out);
    client.connection.send(&out)?;
    // The server answers the first of these when the script has run for long enough. The script may not have begun yet.
    while !matches!(other.call(&["GET", "a"])?, Value::Error(_)) {}
    other.refused(&["GET", "a"], Code::Busy, Remedy::Elsewhere)?;
    other.expect(&["SCRIPT", "KILL"], &ok())?;
    let Value::Error(_) = client.reply()? else { return Err("a killed script has a result".into()) };
    other.refused(&["SCRIPT", "KILL"], Code::NotBusy, Remedy::Nothing)?;
    Ok(())
}
