//! SMTP and LMTP (RFC 5321, RFC 2033) as bytes in, events out: server and client side, without I/O or a clock.
//!
//! ```text
//!   socket --bytes--> server::Session --Event--> daemon (decides)
//!   socket <-output-- server::Session <-answer-- daemon
//! ```
//!
//! Both sides work alike. The caller appends what it read to [`server::Session::input`], takes events until
//! there are none, answers those that ask a question, writes [`server::Session::output`] and waits for more
//! bytes no longer than [`server::Session::deadline`]. Time is an argument (`now`); nothing here reads a clock.
//!
//! - [`command`]: command lines as checked values, and the exact replies to those that are wrong (compat.md 2.6).
//! - [`framing`]: message bodies: strict CRLF, dots, limits.
//! - [`reply`]: replies on the wire and the standard wordings.
//! - [`server`]: the server's session, for SMTP and LMTP.
//! - [`client`]: the client's session, for SMTP and LMTP.

pub mod client;
pub mod command;
pub mod framing;
pub mod reply;
pub mod server;

/// Which of the two dialects a session speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// RFC 5321: HELO or EHLO, one reply for the message.
    Smtp,
    /// RFC 2033: LHLO, one reply for each recipient after the message.
    Lmtp,
}
