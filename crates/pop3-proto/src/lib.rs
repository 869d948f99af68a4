//! POP3 as bytes in, commands and replies out, without I/O or a clock.
//!
//! ```text
//!  socket bytes --> framing::LineReader --> Line --> command::parse --> Command
//!                                                                        |
//!                                       server::Authorization | server::Transaction
//!                                                                        |
//!  socket bytes <-- Reply::write, server::Scan, multiline::DotEncoder <-- step
//! ```
//!
//! A session is one state after the other, each a type that is consumed by the transition into the next:
//! [`server::Authorization`] until somebody is logged in, [`server::Transaction`] over a snapshot of the
//! maildrop, [`server::Update`] after QUIT. Only `Update` knows which messages are to be removed, so
//! nothing can be removed without QUIT (RFC 1939 6).
//!
//! Implemented: RFC 1939 (all but APOP, which is refused), 2449 (CAPA, RESP-CODES, PIPELINING), 2595 4
//! (STLS), 5034 (AUTH), 3206 (AUTH-RESP-CODE), 6856 (UTF8).

pub mod command;
pub mod framing;
pub mod multiline;
pub mod reply;
pub mod server;

pub use command::{Command, CommandError};
pub use framing::{Line, LineReader};
pub use multiline::{DotEncoder, Extent};
pub use reply::{Reply, ResponseCode};
