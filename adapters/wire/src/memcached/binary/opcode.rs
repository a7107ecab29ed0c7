//! The numbers of the operations: [`Opcode`].

macro_rules! opcodes {
    ($($name:ident $number:literal $doc:literal,)+) => {
        /// The number of an operation. Those that end in `Q` are quiet: the server sends no answer in the usual case,
        /// which is a miss for reads and success for all other operations.
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
        #[cfg_attr(feature = "defmt", derive(defmt::Format))]
        #[repr(u8)]
        pub enum Opcode {
            $(#[doc = $doc] $name = $number,)+
        }

        impl Opcode {
            /// The operation with this number.
            #[must_use]
            pub const fn of(number: u8) -> Option<Self> {
                Some(match number {
                    $($number => Self::$name,)+
                    _ => return None,
                })
            }

            /// The number.
            #[must_use]
            pub const fn number(self) -> u8 {
                match self {
                    $(Self::$name => $number,)+
                }
            }
        }
    };
}

opcodes! {
    Get 0x00 "Reads a value.",
    Set 0x01 "Stores a value.",
    Add 0x02 "Stores a value if there is none.",
    Replace 0x03 "Stores a value if there is one.",
    Delete 0x04 "Deletes a value.",
    Increment 0x05 "Adds to a counter.",
    Decrement 0x06 "Subtracts from a counter, down to 0.",
    Quit 0x07 "Closes the connection.",
    Flush 0x08 "Deletes all values.",
    GetQ 0x09 "Quiet [`Get`](Self::Get).",
    NoOp 0x0a "Does nothing.",
    Version 0x0b "Asks for the version.",
    GetK 0x0c "[`Get`](Self::Get), whose answer has the key.",
    GetKQ 0x0d "Quiet [`GetK`](Self::GetK).",
    Append 0x0e "Adds bytes behind a value.",
    Prepend 0x0f "Adds bytes before a value.",
    Stat 0x10 "Asks for statistics.",
    SetQ 0x11 "Quiet [`Set`](Self::Set).",
    AddQ 0x12 "Quiet [`Add`](Self::Add).",
    ReplaceQ 0x13 "Quiet [`Replace`](Self::Replace).",
    DeleteQ 0x14 "Quiet [`Delete`](Self::Delete).",
    IncrementQ 0x15 "Quiet [`Increment`](Self::Increment).",
    DecrementQ 0x16 "Quiet [`Decrement`](Self::Decrement).",
    QuitQ 0x17 "Quiet [`Quit`](Self::Quit).",
    FlushQ 0x18 "Quiet [`Flush`](Self::Flush).",
    AppendQ 0x19 "Quiet [`Append`](Self::Append).",
    PrependQ 0x1a "Quiet [`Prepend`](Self::Prepend).",
    Verbosity 0x1b "Sets how much the server logs.",
    Touch 0x1c "Sets the time at which a value expires.",
    Gat 0x1d "Reads a value and sets the time at which it expires.",
    GatQ 0x1e "Quiet [`Gat`](Self::Gat).",
    SaslList 0x20 "Asks for the SASL mechanisms.",
    SaslAuth 0x21 "Begins to authenticate.",
    SaslStep 0x22 "Goes on to authenticate.",
    GatK 0x23 "[`Gat`](Self::Gat), whose answer has the key.",
    GatKQ 0x24 "Quiet [`GatK`](Self::GatK).",
}

impl Opcode {
    /// The quiet form, if there is one that a request can be written with.
    pub(super) const fn quiet(self) -> Option<Self> {
        Some(match self {
            Self::Get => Self::GetQ,
            Self::GetK => Self::GetKQ,
            Self::Gat => Self::GatQ,
            Self::GatK => Self::GatKQ,
            Self::Set => Self::SetQ,
            Self::Add => Self::AddQ,
            Self::Replace => Self::ReplaceQ,
            Self::Delete => Self::DeleteQ,
            Self::Increment => Self::IncrementQ,
            Self::Decrement => Self::DecrementQ,
            Self::Append => Self::AppendQ,
            Self::Prepend => Self::PrependQ,
            Self::Flush => Self::FlushQ,
            _ => return None,
        })
    }

    /// Whether an answer that found a value carries its flags.
    pub(super) const fn has_flags(self) -> bool {
        use Opcode::{Gat, GatK, GatKQ, GatQ, Get, GetK, GetKQ, GetQ};
        matches!(self, Get | GetQ | GetK | GetKQ | Gat | GatQ | GatK | GatKQ)
    }

    /// Whether the value of a good answer is a counter.
    pub(super) const fn is_counter(self) -> bool {
        matches!(self, Self::Increment | Self::IncrementQ | Self::Decrement | Self::DecrementQ)
    }
}
