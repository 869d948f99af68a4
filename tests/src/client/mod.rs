//! Small blocking mail clients for tests and `xtask up`: they show every line and verify every certificate.

mod imap;
mod line;
mod pop3;
mod smtp;

pub use imap::{Imap, ImapReply};
pub use line::{Line, Tls, show as show_bytes};
pub use pop3::Pop3;
pub use smtp::{Envelope, Reply, Smtp};
