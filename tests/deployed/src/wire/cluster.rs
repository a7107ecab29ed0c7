//! Two nodes of a cluster: slots, and the errors that send a command elsewhere: [`run`].

use std::error::Error;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use fastrand::Rng;
use hedge_wire::resp::{Code, Remedy, ServerError, Value, slot};

use super::program::Program;
use super::redis::{Client, ok, text};
use super::same;

/// How many keys' slots are compared.
const KEYS: u64 = 300;
/// How long the nodes may take to agree.
const PATIENCE: Duration = Duration::from_secs(30);

/// Returns how many slots were compared.
pub(super) fn run(rng: &mut Rng, home: &Path) -> Result<u64, Box<dyn Error>> {
    let servers = [Program::redis(home, true)?, Program::redis(home, true)?];
    let [left, right] = &servers;
    let mut one = Client::open(left.address, rng)?;
    let mut other = Client::open(right.address, rng)?;
    for _ in 0..KEYS {
        let key: String = (0..rng.usize(..20))
            .map(|_| if rng.u8(..3) == 0 { *rng.choice(b"{}").unwrap_or(&b'{') } else { rng.u8(..) })
            .map(char::from)
            .collect();
        one.expect(&["CLUSTER", "KEYSLOT", &key], &Value::Integer(slot(key.as_bytes()).into()))?;
    }
    one.refused(&["GET", "a"], Code::ClusterDown, Remedy::Elsewhere)?;

    one.expect(&["CLUSTER", "ADDSLOTSRANGE", "0", "8191"], &ok())?;
    other.expect(&["CLUSTER", "ADDSLOTSRANGE", "8192", "16383"], &ok())?;
    let port = |server: &Program| server.address.port();
    let meet = ["CLUSTER", "MEET", "127.0.0.1", &port(right).to_string(), &right.bus.to_string()];
    one.expect(&meet, &ok())?;
    agree(&mut one)?;
    agree(&mut other)?;

    // "a" is in slot 15495, which the other node serves; "b" is in slot 3300.
    same(&"slots", &[slot(b"a"), slot(b"b")], &[15495, 3300])?;
    one.refused(&["MGET", "a", "b"], Code::CrossSlot, Remedy::Nothing)?;
    redirected(&mut one, &["GET", "a"], Code::Moved, (false, 15495, port(right)))?;
    redirected(&mut other, &["SET", "b", "1"], Code::Moved, (false, 3300, port(left)))?;

    // Slot 3300 moves to the other node.
    let [Value::Bulk(to), Value::Bulk(from)] = [other.call(&["CLUSTER", "MYID"])?, one.call(&["CLUSTER", "MYID"])?]
    else {
        return Err("a node has no name".into());
    };
    one.expect(&["SET", "{b}1", "1"], &ok())?;
    other.expect(&["CLUSTER", "SETSLOT", "3300", "IMPORTING", std::str::from_utf8(&from)?], &ok())?;
    one.expect(&["CLUSTER", "SETSLOT", "3300", "MIGRATING", std::str::from_utf8(&to)?], &ok())?;
    one.expect(&["GET", "{b}1"], &Value::Bulk(text("1")))?;
    redirected(&mut one, &["GET", "b"], Code::Ask, (true, 3300, port(right)))?;
    one.refused(&["MGET", "b", "{b}1"], Code::TryAgain, Remedy::Later)?;
    other.expect(&["ASKING"], &ok())?;
    other.expect(&["GET", "b"], &Value::Null)?;
    Ok(KEYS)
}

/// Sends a command that must be redirected: whether by `ASK`, the slot, and the port.
fn redirected(
    client: &mut Client,
    parts: &[&str],
    code: Code,
    expected: (bool, u16, u16),
) -> Result<(), Box<dyn Error>> {
    let text = client.refused(parts, code, Remedy::Redirect)?;
    let redirect = ServerError::new(&text).redirect().ok_or("no redirect")?;
    same(&parts, &redirect.host, &"127.0.0.1")?;
    same(&parts, &(redirect.is_ask, redirect.slot, redirect.port), &expected)
}

/// Waits until a node knows who serves which slot.
fn agree(client: &mut Client) -> Result<(), Box<dyn Error>> {
    let deadline = Instant::now() + PATIENCE;
    while Instant::now() < deadline {
        let Value::Bulk(info) = client.call(&["CLUSTER", "INFO"])? else { return Err("no info".into()) };
        let info = String::from_utf8_lossy(&info);
        if info.contains("cluster_state:ok") && info.contains("cluster_slots_ok:16384") {
            return Ok(());
        }
        thread::sleep(Duration::from_millis(20));
    }
    Err("the nodes do not agree".into())
}
