//! What a command does, as far as hedging, retries and connections must know: [`Kind`].

/// What a command does. A command that is not in the table is [`Kind::Other`].
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Kind {
    /// Reads data, with the same meaning on each replica. It may be sent twice, to two servers.
    ///
    /// `SCAN`, `HSCAN`, `SSCAN` and `ZSCAN` are [`Kind::Other`], since a cursor belongs to the server that gave it.
    /// `INFO` and similar commands are [`Kind::Other`] too, since they tell about one server.
    Read,
    /// Writes data, or is not in the table.
    Other,
    /// Runs a script or a function, which may do anything. The read-only variants count as this too.
    Script,
    /// May block until data comes: `BLPOP`, `WAIT`, `XREAD` with `BLOCK` and others. All commands after it on the same
    /// connection wait for it. A second copy could take data that would then be lost.
    Blocking,
    /// Changes what the connection does with later commands or their replies, or belongs to a transaction: `SELECT`, `AUTH`,
    /// `CLIENT REPLY`, `MULTI`, `EXEC`, `SUBSCRIBE` and others.
    Connection,
}

impl Kind {
    /// The kind of a command. Upper and lower case are the same. Options are looked at where the kind depends on them.
    ///
    /// ```
    /// use hedge_wire::resp::Kind;
    ///
    /// assert_eq!(Kind::of(&[b"get", b"a"]), Kind::Read);
    /// assert_eq!(Kind::of(&[b"XREAD", b"BLOCK", b"0", b"STREAMS", b"s", b"$"]), Kind::Blocking);
    /// assert_eq!(Kind::of(&[b"CLIENT", b"REPLY", b"OFF"]), Kind::Connection);
    /// assert_eq!(Kind::of(&[b"SOMETHING.NEW", b"a"]), Kind::Other);
    /// ```
    #[must_use]
    pub fn of(parts: &[&[u8]]) -> Self {
        let Some((name, options)) = parts.split_first() else { return Self::Other };
        let mut upper = [0; LONGEST];
        let Some(name) = uppercase(name, &mut upper) else { return Self::Other };
        if is_in(READS, name) {
            return Self::Read;
        }
        if is_in(SCRIPTS, name) {
            return Self::Script;
        }
        if is_in(BLOCKING, name) {
            return Self::Blocking;
        }
        if is_in(CONNECTION, name) {
            return Self::Connection;
        }
        let is_option = |option: Option<&&[u8]>, names: &[&str]| {
            option.is_some_and(|option| names.iter().any(|name| option.eq_ignore_ascii_case(name.as_bytes())))
        };
        let is_block = |option: &&[u8]| option.eq_ignore_ascii_case(b"BLOCK");
        match name {
            // The options end at `STREAMS`. After it, a stream may have the name of an option.
            "XREAD" => {
                let mut options = options.iter().take_while(|option| !option.eq_ignore_ascii_case(b"STREAMS"));
                if options.any(is_block) { Self::Blocking } else { Self::Read }
            }
            // A group or a consumer may have any name, so this looks at all parts.
            "XREADGROUP" if options.iter().any(is_block) => Self::Blocking,
            // A later version may add subcommands that concern the connection.
            "CLIENT" if !is_option(options.first(), HARMLESS_CLIENT) => Self::Connection,
            "OBJECT" if is_option(options.first(), &["ENCODING", "FREQ", "IDLETIME", "REFCOUNT"]) => Self::Read,
            "MEMORY" if is_option(options.first(), &["USAGE"]) => Self::Read,
            "XINFO" if is_option(options.first(), &["STREAM", "GROUPS", "CONSUMERS"]) => Self::Read,
            _ => Self::Other,
        }
    }

    /// Whether the command may run twice, or on two servers at once, with the same result. The caller may know that a
    /// command which is [`Kind::Other`] or [`Kind::Script`] may run twice too.
    #[must_use]
    pub const fn is_idempotent(self) -> bool {
        matches!(self, Self::Read)
    }

    /// Whether the command may be sent on a connection that other callers use too.
    #[must_use]
    pub const fn may_share(self) -> bool {
        !matches!(self, Self::Blocking | Self::Connection)
    }
}

/// The length of the longest name in the tables.
const LONGEST: usize = 20;

/// Whether a sorted table has this name.
fn is_in(table: &[&str], name: &str) -> bool {
    table.binary_search(&name).is_ok()
}

/// The name in upper case; `None` if it is longer than each name in the tables, or not ASCII.
fn uppercase<'b>(name: &[u8], buffer: &'b mut [u8; LONGEST]) -> Option<&'b str> {
    let upper = buffer.get_mut(..name.len())?;
    upper.copy_from_slice(name);
    upper.make_ascii_uppercase();
    core::str::from_utf8(upper).ok()
}

const READS: &[&str] = &[
    "BITCOUNT",
    "BITFIELD_RO",
    "BITPOS",
    "DBSIZE",
    "DUMP",
    "ECHO",
    "EXISTS",
    "EXPIRETIME",
    "GEODIST",
    "GEOHASH",
    "GEOPOS",
    "GEORADIUSBYMEMBER_RO",
    "GEORADIUS_RO",
    "GEOSEARCH",
    "GET",
    "GETBIT",
    "GETRANGE",
    "HEXISTS",
    "HEXPIRETIME",
    "HGET",
    "HGETALL",
    "HKEYS",
    "HLEN",
    "HMGET",
    "HPEXPIRETIME",
    "HPTTL",
    "HRANDFIELD",
    "HSTRLEN",
    "HTTL",
    "HVALS",
    "KEYS",
    "LCS",
    "LINDEX",
    "LLEN",
    "LPOS",
    "LRANGE",
    "MGET",
    "PEXPIRETIME",
    "PFCOUNT",
    "PING",
    "PTTL",
    "RANDOMKEY",
    "SCARD",
    "SDIFF",
    "SINTER",
    "SINTERCARD",
    "SISMEMBER",
    "SMEMBERS",
    "SMISMEMBER",
    "SORT_RO",
    "SRANDMEMBER",
    "STRLEN",
    "SUBSTR",
    "SUNION",
    "TIME",
    "TTL",
    "TYPE",
    "XLEN",
    "XPENDING",
    "XRANGE",
    "XREVRANGE",
    "ZCARD",
    "ZCOUNT",
    "ZDIFF",
    "ZINTER",
    "ZINTERCARD",
    "ZLEXCOUNT",
    "ZMSCORE",
    "ZRANDMEMBER",
    "ZRANGE",
    "ZRANGEBYLEX",
    "ZRANGEBYSCORE",
    "ZRANK",
    "ZREVRANGE",
    "ZREVRANGEBYLEX",
    "ZREVRANGEBYSCORE",
    "ZREVRANK",
    "ZSCORE",
    "ZUNION",
];

const SCRIPTS: &[&str] = &["EVAL", "EVALSHA", "EVALSHA_RO", "EVAL_RO", "FCALL", "FCALL_RO"];

const BLOCKING: &[&str] =
    &["BLMOVE", "BLMPOP", "BLPOP", "BRPOP", "BRPOPLPUSH", "BZMPOP", "BZPOPMAX", "BZPOPMIN", "WAIT", "WAITAOF"];

const CONNECTION: &[&str] = &[
    "ASKING",
    "AUTH",
    "DISCARD",
    "EXEC",
    "HELLO",
    "MONITOR",
    "MULTI",
    "PSUBSCRIBE",
    "PSYNC",
    "PUNSUBSCRIBE",
    "QUIT",
    "READONLY",
    "READWRITE",
    "REPLCONF",
    "RESET",
    "SELECT",
    "SSUBSCRIBE",
    "SUBSCRIBE",
    "SUNSUBSCRIBE",
    "SYNC",
    "UNSUBSCRIBE",
    "UNWATCH",
    "WATCH",
];

/// What `CLIENT` can be asked without an effect on the connection that asks.
const HARMLESS_CLIENT: &[&str] =
    &["GETNAME", "GETREDIR", "HELP", "ID", "INFO", "KILL", "LIST", "PAUSE", "TRACKINGINFO", "UNBLOCK", "UNPAUSE"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tables_are_sorted_and_no_name_is_too_long() {
        for table in [READS, SCRIPTS, BLOCKING, CONNECTION] {
            assert!(table.is_sorted_by(|one, other| one < other), "{table:?}");
            assert!(table.iter().all(|name| name.len() <= LONGEST), "{table:?}");
        }
    }

    #[test]
    fn p3_blocking_commands_and_those_of_the_connection_are_not_shared() {
        for name in ["SELECT", "AUTH", "HELLO", "RESET", "QUIT", "WATCH", "MULTI", "MONITOR", "SUBSCRIBE"] {
            assert_eq!(Kind::of(&[name.as_bytes()]), Kind::Connection, "{name}");
        }
        for option in ["REPLY", "TRACKING", "NO-EVICT", "SETNAME", "UNHEARD-OF", ""] {
            assert_eq!(Kind::of(&[b"client", option.as_bytes()]), Kind::Connection, "{option}");
        }
        assert_eq!(Kind::of(&[b"CLIENT"]), Kind::Connection);
        for parts in [
            &[&b"BLPOP"[..], b"a", b"0"][..],
            &[b"wait", b"1", b"0"],
            &[b"XREADGROUP", b"GROUP", b"STREAMS", b"c", b"block", b"1", b"STREAMS"],
        ] {
            assert_eq!(Kind::of(parts), Kind::Blocking);
        }
        assert!(!Kind::Blocking.may_share() && !Kind::Connection.may_share() && Kind::Other.may_share());
        assert_eq!(Kind::of(&[b"CLIENT", b"ID"]), Kind::Other);
    }

    #[test]
    fn p3_only_reads_are_idempotent() {
        for name in ["SET", "DEL", "INCR", "GETDEL", "GETEX", "SORT", "SCAN", "INFO", "XREADGROUP", "", "NEW", "\u{e9}"]
        {
            assert_eq!(Kind::of(&[name.as_bytes(), b"a"]), Kind::Other, "{name}");
        }
        assert_eq!(Kind::of(&[b"EVAL", b"return 1", b"0"]), Kind::Script);
        assert_eq!(Kind::of(&[b"xread", b"STREAMS", b"BLOCK", b"0"]), Kind::Read, "a stream named BLOCK");
        assert_eq!(Kind::of(&[]), Kind::Other);
        for kind in [Kind::Other, Kind::Script, Kind::Blocking, Kind::Connection] {
            assert!(!kind.is_idempotent(), "{kind:?}");
        }
    }
}
