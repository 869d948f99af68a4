//! Hands over to the daemon.

use std::process::ExitCode;

fn main() -> ExitCode {
    daemon::run::<smtpd::Smtpd>()
}
