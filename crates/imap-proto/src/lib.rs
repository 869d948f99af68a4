//! IMAP4rev1 as bytes in, commands and responses out, without I/O or a clock.
//!
//! ```text
//!   socket bytes --feed--> framing::Framer --next--> Input::Command(bytes) --> command::parse --> TaggedCommand
//!                                           \------> Input::Append.. (the message is streamed, never collected)
//!   response::Response / fetch writers --encode--> bytes for the socket
//! ```
//!
//! The [`framing::Framer`] cuts the input into commands and enforces every limit on lines and literals before
//! anything is stored. [`command::parse`] turns one command into a value of [`command::Command`]; it never
//! panics, and its only recursion (SEARCH keys) is capped at [`command::MAX_NESTING`]. [`response`] writes
//! what the server says. [`sequence`], [`name`] (modified UTF-7), [`wildcard`] (LIST patterns) and [`date`]
//! are the values that both sides share.

pub mod command;
pub mod date;
pub mod framing;
pub mod name;
pub mod response;
pub mod sequence;
pub mod wildcard;
