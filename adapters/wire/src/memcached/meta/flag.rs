//! The flags of requests: [`Flag`].

use crate::write::{Writer, decimal};

/// A flag of a request: what the answer must contain, or how the command works. A time is in seconds. Up to 30 days
/// (2,592,000) it counts from now, and above that it is a Unix time. 0 means never, and a negative time means at once.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Flag<'a> {
    /// `c`: the answer tells the cas number.
    Cas,
    /// `f`: the answer tells the number that is stored with the value.
    ClientFlags,
    /// `h`: the answer tells whether the value was read before: 0 or 1.
    Hit,
    /// `k`: the answer tells the key.
    Key,
    /// `l`: the answer tells how many seconds ago the value was read.
    LastAccess,
    /// `O`: the answer tells this again: 1 to 32 bytes without blanks and control characters.
    Opaque(&'a [u8]),
    /// `q`: the server sends no answer in the usual case: a miss of `mg`, or the success of another command. For `md`,
    /// some versions of the server send no answer for a missing key either. So use an opaque, and a no-op at the end.
    Quiet,
    /// `s`: the answer tells the size of the value.
    Size,
    /// `t`: the answer tells in how many seconds the value expires, or -1 for never.
    Remaining,
    /// `v`: the answer has the value.
    Value,
    /// `E`: the value gets this cas number, instead of one that the server chooses.
    NewCas(u64),
    /// `N`: if there is no value, one is made that is empty and expires at this time.
    Vivify(i32),
    /// `R`: if the value expires in fewer seconds than this, the server tells one client to write it again.
    Recache(i32),
    /// `T`: when the value expires.
    Expires(i32),
    /// `F`: a number that is stored with the value.
    SetClientFlags(u32),
    /// `I`: if the value's cas number is lower, the server marks the value as stale, and does not refuse the command.
    /// For `md`: marks the value as stale, and does not delete it.
    Invalidate,
    /// `M`: how the value is stored, or how the counter is changed.
    Mode(Mode),
    /// `C`: the cas number that the value must have.
    Compare(u64),
    /// `J`: the counter's value if there is no counter yet, together with [`Flag::Vivify`].
    Initial(u64),
    /// `D`: how much the counter is changed by, 1 by default.
    Delta(u64),
    /// `x`: the value becomes empty, but is not deleted.
    Empty,
}

/// The modes of `ms` and `ma`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Mode {
    /// `ms`: always stores the value. This is the default.
    Set,
    /// `ms`: stores the value if there is none.
    Add,
    /// `ms`: stores the value if there is one.
    Replace,
    /// `ms`: adds bytes behind the value.
    Append,
    /// `ms`: adds bytes before the value.
    Prepend,
    /// `ma`: adds to the counter. This is the default.
    Increment,
    /// `ma`: subtracts from the counter, down to 0.
    Decrement,
}

impl Flag<'_> {
    /// The letter of the flag.
    #[must_use]
    pub const fn letter(&self) -> u8 {
        match self {
            Self::Cas => b'c',
            Self::ClientFlags => b'f',
            Self::Hit => b'h',
            Self::Key => b'k',
            Self::LastAccess => b'l',
            Self::Opaque(_) => b'O',
            Self::Quiet => b'q',
            Self::Size => b's',
            Self::Remaining => b't',
            Self::Value => b'v',
            Self::NewCas(_) => b'E',
            Self::Vivify(_) => b'N',
            Self::Recache(_) => b'R',
            Self::Expires(_) => b'T',
            Self::SetClientFlags(_) => b'F',
            Self::Invalidate => b'I',
            Self::Mode(_) => b'M',
            Self::Compare(_) => b'C',
            Self::Initial(_) => b'J',
            Self::Delta(_) => b'D',
            Self::Empty => b'x',
        }
    }

    /// Whether the flag makes a read change something.
    pub(super) const fn changes(&self) -> bool {
        matches!(self, Self::NewCas(_) | Self::Vivify(_) | Self::Recache(_) | Self::Expires(_))
    }

    /// Whether the flag belongs to a command with this letter, and has a good opaque.
    pub(super) fn is_allowed(&self, command: u8) -> bool {
        let letters: &[u8] = match command {
            b'g' => b"cfhklOqstvENRT",
            b's' => b"cfkOqsEFICTM",
            b'd' => b"kOqCEITx",
            b'a' => b"ckOqtvCDEJMNT",
            _ => b"",
        };
        let is_good = match self {
            Self::Opaque(opaque) => {
                (1..=32).contains(&opaque.len()) && opaque.iter().all(|&byte| byte > b' ' && byte != 0x7f)
            }
            Self::Mode(Mode::Increment | Mode::Decrement) => command == b'a',
            Self::Mode(_) => command == b's',
            _ => true,
        };
        is_good && letters.contains(&self.letter())
    }

    pub(super) fn write(&self, out: &mut Writer<'_>) {
        let number = |out: &mut Writer<'_>, number: u64| out.put(decimal(number, &mut [0; 20]));
        out.put(&[b' ', self.letter()]);
        match self {
            Self::Opaque(opaque) => out.put(opaque),
            Self::NewCas(value) | Self::Compare(value) | Self::Initial(value) | Self::Delta(value) => {
                number(out, *value);
            }
            Self::SetClientFlags(value) => number(out, u64::from(*value)),
            Self::Vivify(time) | Self::Recache(time) | Self::Expires(time) => {
                if *time < 0 {
                    out.put(b"-");
                }
                number(out, u64::from(time.unsigned_abs()));
            }
            Self::Mode(mode) => out.put(match mode {
                Mode::Set => b"S",
                Mode::Add => b"E",
                Mode::Replace => b"R",
                Mode::Append => b"A",
                Mode::Prepend => b"P",
                Mode::Increment => b"I",
                Mode::Decrement => b"D",
            }),
            _ => {}
        }
    }
}
