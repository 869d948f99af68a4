//! The end-to-end harness: real daemons, real databases, real sockets, in a directory of their own.
//!
//! ```no_run
//! use tests::Site;
//!
//! # fn main() -> anyhow::Result<()> {
//! // Six daemons, example.com with alice and bob (password "secret"), SQLite.
//! Site::builder().run(|site| {
//!     let mut smtp = site.smtp("mx")?; // has read the greeting and said EHLO
//!     smtp.send("out@a.test", &["alice@example.com"], "Subject: hi\r\n\r\nhello\r\n")?;
//!     let messages = site.mailbox("alice@example.com").wait(1)?;
//!     anyhow::ensure!(messages[0].body() == b"hello\n");
//!     Ok(())
//! })
//! # }
//! ```
//!
//! What there is:
//!
//! - [`Site`]: configuration, certificate, database and the six daemons, each of which can be killed, restarted, stopped
//!   and reloaded; its logs are printed when the test fails. [`site::SiteBuilder`] says what differs from the usual one.
//! - [`backend`]: SQLite or a private MariaDB, with the PostfixAdmin schema forms 2.1, 3.3 and 4.0;
//!   [`backend::each`] runs one test on all of them.
//! - [`outage`]: all the ways in which a database goes away.
//! - [`relay`]: a bad network in front of the database server.
//! - [`client`]: small blocking SMTP, IMAP and POP3 clients with verified TLS, which show what went over the wire.
//! - [`sink`] and [`dns`]: the rest of the world: SMTP servers that refuse, delay or close, and the zones that lead there.
//! - [`mailbox`]: what is on disk, read without any code of the project.
//! - [`events`]: the decision log, read back.
//! - [`hashes`]: stored passwords, made by the programs that sites have.
//! - [`load`]: many clients at once, with a ledger of what was acknowledged.
//! - [`panel`]: PostfixAdmin itself beside a site.
//! - [`dialog`]: the runner of `tests/dialogs/**/*.dialog`.
//! - [`peers`]: Courier's authdaemond and Postfix's proxymap on the same database, for comparison.
//! - [`wait`]: the only way to wait: for a condition, with a deadline.
//!
//! Every function returns a `Result` with the whole story in its error, so tests read straight down with `?`.

pub mod backend;
pub mod binaries;
pub mod client;
pub mod dialog;
pub mod dns;
pub mod events;
pub mod hashes;
pub mod load;
pub mod mailbox;
pub mod mariadb;
pub mod outage;
pub mod packages;
pub mod panel;
pub mod peers;
pub mod pki;
pub mod process;
pub mod relay;
pub mod schema;
pub mod sink;
pub mod site;
pub mod trace;
pub mod wait;

pub use backend::{Backend, Form};
pub use site::Site;

/// Random bytes from the system.
///
/// # Errors
/// When the system gives none.
pub fn random_bytes(count: usize) -> anyhow::Result<Vec<u8>> {
    let mut bytes = vec![0; count];
    getrandom::fill(&mut bytes).map_err(|error| anyhow::anyhow!("random bytes: {error}"))?;
    Ok(bytes)
}
