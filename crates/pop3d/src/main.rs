//! The POP3 server.

use std::process::ExitCode;

fn main() -> ExitCode {
    daemon::run::<pop3d::Pop3d>()
}
