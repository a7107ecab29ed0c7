//! What an error reply says: [`ServerError`].

use core::fmt;

use super::{Kind, SLOTS};

/// An error reply. It is an answer: the server has read the command and is alive.
///
/// ```
/// use hedge_wire::resp::{Code, Kind, Remedy, ServerError};
///
/// let error = ServerError::new(b"MOVED 3999 127.0.0.1:6381");
/// assert_eq!((error.code(), error.remedy()), (Code::Moved, Remedy::Redirect));
/// let redirect = error.redirect().ok_or("no redirect")?;
/// assert_eq!((redirect.slot, redirect.host, redirect.port), (3999, "127.0.0.1", 6381));
/// assert!(error.is_refusal(Kind::Other) && !error.is_refusal(Kind::Script));
/// # Ok::<(), &str>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct ServerError<'b> {
    text: &'b [u8],
}

impl<'b> ServerError<'b> {
    /// The error with this text, without its type and line end.
    #[must_use]
    pub fn new(text: &'b [u8]) -> Self {
        Self { text }
    }

    /// The whole text, with the code.
    #[must_use]
    pub fn text(&self) -> &'b [u8] {
        self.text
    }

    /// The code, which is the first word.
    #[must_use]
    pub fn code(&self) -> Code {
        let word = self.words().next().unwrap_or(&[]);
        CODES.iter().find(|(name, ..)| name.as_bytes() == word).map_or(Code::Unknown, |&(_, code, ..)| code)
    }

    /// What may help.
    #[must_use]
    pub fn remedy(&self) -> Remedy {
        self.facts().map_or(Remedy::Nothing, |&(_, _, remedy, _)| remedy)
    }

    /// Whether the server has refused a command of this kind before it ran. Then the command may be sent again, although it
    /// is not idempotent. This holds for the commands of Redis itself. The errors of scripts say nothing, since a script can
    /// change data and then answer with any text. The same is true for [`Kind::Connection`], to which `EXEC` belongs,
    /// and for commands of modules, which the caller has to know.
    #[must_use]
    pub fn is_refusal(&self, kind: Kind) -> bool {
        !matches!(kind, Kind::Script | Kind::Connection) && self.facts().is_some_and(|&(.., is_refusal)| is_refusal)
    }

    /// Where the command must go, if the code is [`Code::Moved`] or [`Code::Ask`] and the text is well-formed. `None`
    /// too if the host is `?`: then the server does not know the name of that node.
    #[must_use]
    pub fn redirect(&self) -> Option<Redirect<'b>> {
        let is_ask = match self.code() {
            Code::Moved => false,
            Code::Ask => true,
            _ => return None,
        };
        let mut words = self.words().skip(1);
        let slot = number(words.next()?)?;
        let address = core::str::from_utf8(words.next()?).ok()?;
        let (host, port) = address.rsplit_once(':')?;
        let port = number(port.as_bytes())?;
        let is_good = slot < SLOTS && port > 0 && host != "?" && words.next().is_none();
        is_good.then_some(Redirect { is_ask, slot, host, port })
    }

    fn words(&self) -> impl Iterator<Item = &'b [u8]> + use<'b> {
        self.text.split(|&byte| byte == b' ')
    }

    fn facts(&self) -> Option<&'static (&'static str, Code, Remedy, bool)> {
        let code = self.code();
        CODES.iter().find(|&&(_, other, ..)| other == code)
    }
}

impl fmt::Debug for ServerError<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ServerError({self})")
    }
}

impl fmt::Display for ServerError<'_> {
    /// The text. Bytes that are not printable ASCII are escaped.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.text.escape_ascii())
    }
}

impl core::error::Error for ServerError<'_> {}

#[cfg(feature = "defmt")]
impl defmt::Format for ServerError<'_> {
    fn format(&self, f: defmt::Formatter<'_>) {
        defmt::write!(f, "ServerError({=[u8]:a})", self.text);
    }
}

/// A number of decimal digits alone.
fn number(digits: &[u8]) -> Option<u16> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0_u16, |number, &digit| {
        let digit = digit.is_ascii_digit().then(|| digit.wrapping_sub(b'0'))?;
        number.checked_mul(10)?.checked_add(u16::from(digit))
    })
}

/// Where a node of a cluster sends a command.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Redirect<'b> {
    /// For `ASK`: this command alone goes there, after an `ASKING` on the same connection. Otherwise (`MOVED`) all
    /// commands of the slot go there from now on.
    pub is_ask: bool,
    /// The slot, below [`SLOTS`].
    pub slot: u16,
    /// The host: a name or an address, an IPv6 address without brackets. Empty if it is the host that has answered.
    pub host: &'b str,
    /// The port, not 0.
    pub port: u16,
}

/// What may help after an error.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Remedy {
    /// The error names nothing that helps: the same command would fail in the same way.
    Nothing,
    /// The node that [`ServerError::redirect`] names.
    Redirect,
    /// Another server of the fleet may accept the command now. The same server may accept it later.
    Elsewhere,
    /// The same server may accept the command later.
    Later,
}

macro_rules! codes {
    ($($(#[doc = $doc:literal])+ $code:ident $name:literal $remedy:ident $refusal:literal,)+) => {
        /// The code of an error: its first word.
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
        #[cfg_attr(feature = "defmt", derive(defmt::Format))]
        #[non_exhaustive]
        pub enum Code {
            $($(#[doc = $doc])+ $code,)+
            /// Another word.
            Unknown,
        }

        /// For each name: the code, what may help, and whether this error means that the command was refused before it
        /// ran.
        const CODES: &[(&str, Code, Remedy, bool)] = &[$(($name, Code::$code, Remedy::$remedy, $refusal),)+];
    };
}

codes! {
    /// `ERR`: an error without a code of its own, such as an unknown command.
    Err "ERR" Nothing false,
    /// `WRONGTYPE`: the key holds a value of another type.
    WrongType "WRONGTYPE" Nothing false,
    /// `MOVED`: another node of the cluster serves the slot.
    Moved "MOVED" Redirect true,
    /// `ASK`: the slot is being moved, and the key is at the other node.
    Ask "ASK" Redirect true,
    /// `TRYAGAIN`: the slot is being moved, and the keys of the command are at two nodes.
    TryAgain "TRYAGAIN" Later true,
    /// `CLUSTERDOWN`: the cluster is not complete, as this node sees it.
    ClusterDown "CLUSTERDOWN" Elsewhere true,
    /// `CROSSSLOT`: the keys of the command are in different slots.
    CrossSlot "CROSSSLOT" Nothing true,
    /// `LOADING`: the server has started and reads its data.
    Loading "LOADING" Elsewhere true,
    /// `MASTERDOWN`: a replica has lost its master and serves no old data.
    MasterDown "MASTERDOWN" Elsewhere true,
    /// `READONLY`: a write was sent to a replica.
    ReadOnly "READONLY" Elsewhere true,
    /// `BUSY`: a script or function has been running for too long.
    Busy "BUSY" Elsewhere true,
    /// `NOREPLICAS`: fewer replicas are connected than a write needs.
    NoReplicas "NOREPLICAS" Later true,
    /// `MISCONF`: the server cannot save its data, so it accepts no writes.
    Misconf "MISCONF" Later true,
    /// `OOM`: the memory limit is reached.
    OutOfMemory "OOM" Later true,
    /// `NOAUTH`: the connection has not authenticated.
    NoAuth "NOAUTH" Nothing true,
    /// `WRONGPASS`: wrong user name or password, or the user is disabled.
    WrongPass "WRONGPASS" Nothing false,
    /// `NOPERM`: the user may not run this command, or not on these keys.
    NoPerm "NOPERM" Nothing true,
    /// `NOPROTO`: the server does not speak the version that `HELLO` asks for.
    NoProto "NOPROTO" Nothing false,
    /// `DENIED`: the server accepts no connection from this host without a password.
    Denied "DENIED" Nothing true,
    /// `NOSCRIPT`: the server does not know the script of an `EVALSHA`.
    NoScript "NOSCRIPT" Nothing false,
    /// `EXECABORT`: a transaction was dropped, because one of its commands was refused.
    ExecAbort "EXECABORT" Nothing false,
    /// `BUSYKEY`: the key of a `RESTORE` exists.
    BusyKey "BUSYKEY" Nothing false,
    /// `BUSYGROUP`: the consumer group exists.
    BusyGroup "BUSYGROUP" Nothing false,
    /// `NOGROUP`: there is no such key or consumer group.
    NoGroup "NOGROUP" Nothing false,
    /// `UNBLOCKED`: a blocking command was ended, because the server is a replica now or because of `CLIENT UNBLOCK`.
    Unblocked "UNBLOCKED" Elsewhere false,
    /// `IOERR`: the server could not reach another one, as in `MIGRATE`.
    IoErr "IOERR" Later false,
    /// `NOTBUSY`: no script is running that could be killed.
    NotBusy "NOTBUSY" Nothing false,
    /// `UNKILLABLE`: the running script has changed data and cannot be killed.
    Unkillable "UNKILLABLE" Nothing false,
    /// `INPROG`: a failover is in progress.
    InProgress "INPROG" Later false,
    /// `NOGOODSLAVE`: no replica can become the master.
    NoGoodReplica "NOGOODSLAVE" Later false,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_told_by_the_whole_first_word() {
        for &(name, code, remedy, refused) in CODES {
            let error = ServerError::new(name.as_bytes());
            assert_eq!(
                (error.code(), error.remedy(), error.is_refusal(Kind::Other)),
                (code, remedy, refused),
                "{name}"
            );
            assert!(!error.is_refusal(Kind::Script));
        }
        for text in ["", " MOVED", "moved 1 a:1", "MOVEDX", "ERRX x", "BUSYKEYS"] {
            assert_eq!(ServerError::new(text.as_bytes()).code(), Code::Unknown, "{text}");
        }
    }

    #[test]
    fn redirects_are_read_strictly() {
        let redirect = |text: &'static str| {
            let found = ServerError::new(text.as_bytes()).redirect();
            found.map(|found| (found.is_ask, found.slot, found.host, found.port))
        };
        assert_eq!(redirect("MOVED 3999 127.0.0.1:6381"), Some((false, 3999, "127.0.0.1", 6381)));
        assert_eq!(redirect("ASK 16383 node.example:1"), Some((true, 16383, "node.example", 1)));
        assert_eq!(redirect("MOVED 0 ::1:6379"), Some((false, 0, "::1", 6379)));
        assert_eq!(redirect("MOVED 0 :6379"), Some((false, 0, "", 6379)));
        for text in [
            "MOVED",
            "MOVED 1",
            "MOVED 1 ",
            "MOVED 16384 a:1",
            "MOVED -1 a:1",
            "MOVED +1 a:1",
            "MOVED 1 a:0",
            "MOVED 1 a:65536",
            "MOVED 1 ?:6379",
            "MOVED 1 a:",
            "MOVED 1 a",
            "MOVED 1 a:1 b",
            "MOVED  1 a:1",
            "ERR 1 a:1",
            "MOVED 99999999 a:1",
        ] {
            assert_eq!(redirect(text), None, "{text}");
        }
    }
}
