//! The IMAP server.

use std::process::ExitCode;

fn main() -> ExitCode {
    daemon::run::<imapd::Imapd>()
}
