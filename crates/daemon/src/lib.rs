//! What every daemon needs around its protocol: arguments, logging, listeners, TLS with reload, limits, drain.
//!
//! A daemon implements [`Daemon`]; its `main` is [`run`]:
//!
//! ```no_run
//! struct Pop3d;
//! impl daemon::Daemon for Pop3d {
//!     const NAME: &'static str = "pop3d";
//!     const ABOUT: &'static str = "The POP3 server.";
//!     const USES_TLS: bool = true;
//!     type Settings = u32;
//!     fn settings(config: &config::Config) -> Result<u32, daemon::BoxError> {
//!         Ok(config.pop3d.connection_limit)
//!     }
//!     async fn run(ctx: daemon::Context<u32>) -> Result<(), daemon::BoxError> {
//!         let listeners = ctx.listen("pop3", &ctx.config().pop3d.listen)?;
//!         ctx.ready();
//!         // daemon::serve(&ctx, listeners, service).await ...
//!         ctx.shutdown.cancelled().await;
//!         Ok(())
//!     }
//! }
//! fn main() -> std::process::ExitCode {
//!     daemon::run::<Pop3d>()
//! }
//! ```
//!
//! # Command line
//!
//! `NAME [--config FILE]... [--check]`. Runs in the foreground; `--check` reads configuration and
//! certificate, says what is wrong, and ends with 0 or 78.
//!
//! # Signals
//!
//! SIGHUP reads configuration and certificate again and reopens the decision log; what is wrong stays out
//! and the old stays in force ([`Context::reloads`] tells who wants to know). SIGTERM and SIGINT end the
//! process: listeners close at once, sessions have `shutdown_timeout` to end. A second one ends it at once.
//!
//! # Diagnostics
//!
//! The human log goes to standard error, one line each, control characters escaped, never blocking. Exit
//! status: 0 after a stop, 64 wrong arguments, 78 wrong configuration, 70 anything else.

mod args;
mod blocking;
mod clock;
mod context;
pub mod limits;
pub mod listen;
mod logging;
mod reload;
mod run;
mod serve;
mod systemd;
pub mod tls;

pub use blocking::{BlockingError, blocking};
pub use clock::{Clock, ManualClock};
pub use context::Context;
pub use listen::{Listener, Peer, Stream};
pub use run::{BoxError, Daemon, describe, run};
pub use serve::{Connection, Drained, Limits, Refused, Service, serve};
pub use tls::{Protocol, Tls, TlsAcceptError, TlsInfo};
pub use tokio_rustls::server::TlsStream;
pub use tokio_util::sync::CancellationToken;

#[cfg(test)]
mod tests;
