//! The operator's command line.
//!
//! `mailctl` asks the running daemons over their sockets (authd's admin socket for domains, mailboxes and
//! aliases, qmgr's admin socket for the queue) and reads files where no daemon is needed (the configuration,
//! the decision log, the spool and Maildirs for the offline checks). It changes nothing behind a daemon's back.
//!
//! # Files and sockets
//!
//! The configuration (`--config`, default `/etc/postrider/postrider.toml`), from which come
//! `run_dir/authd/admin/sock`, `run_dir/qmgr/admin/sock`, `events_dir`, `spool_dir`, `virtual_mailbox_base`.
//!
//! # Privileges
//!
//! Those of who calls it: the sockets' directories belong to the group of administrators, the logs are
//! readable by the operators' group, the offline checks need the right to read mail.
//!
//! # Diagnostics
//!
//! What was asked for goes to standard output, as tables or with `--json` as JSON; errors with advice go to
//! standard error. Exit status as in sysexits(3): 0 done, 1 the check found something, 64 wrong arguments,
//! 65 the request makes no sense, 66 nothing found, 67 mail is refused (explain), 69 a daemon cannot be reached, 75 try again later,
//! 77 denied, 78 the configuration is wrong.

mod administrator;
mod alias;
mod alias_domain;
mod app_password;
mod auth;
mod auth_reports;
mod check;
mod cli;
mod config_command;
mod directory;
mod domain;
mod error;
mod explain;
mod explain_login;
mod fetchmail;
mod mailbox;
mod output;
mod panel_log;
mod password;
mod queue;
mod session;
mod trace;
mod vacation;

use std::process::ExitCode;

use clap::Parser;

use cli::{Cli, Command};
use error::{Failure, WRONG_ARGUMENTS};
use session::Session;

/// The whole of `main`.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let _ = error.print();
            return if error.use_stderr() {
                ExitCode::from(WRONG_ARGUMENTS)
            } else {
                ExitCode::SUCCESS
            };
        }
    };
    let session = Session::new(cli.config, cli.json);
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return Failure::internal(format!("cannot start: {error}")).report(cli.json),
    };
    match runtime.block_on(run(cli.command, &session)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(cli.json),
    }
}

async fn run(command: Command, session: &Session) -> Result<(), Failure> {
    match command {
        Command::Domain(command) => domain::run(command, session).await,
        Command::Mailbox(command) => mailbox::run(command, session).await,
        Command::Alias(command) => alias::run(command, session).await,
        Command::AliasDomain(command) => alias_domain::run(command, session).await,
        Command::Vacation(command) => vacation::run(command, session).await,
        Command::Admin(command) => administrator::run(command, session).await,
        Command::Fetchmail(command) => fetchmail::run(command, session).await,
        Command::Log(args) => panel_log::run(&args, session).await,
        Command::Directory(command) => directory::run(command, session).await,
        Command::Queue(command) => queue::run(command, session).await,
        Command::Trace(args) => trace::run(&args, session),
        Command::Explain(command) => explain::run(command, session).await,
        Command::Auth(command) => auth::run(command, session).await,
        Command::Check(command) => check::run(&command, session).await,
        Command::Config(command) => config_command::run(&command, session),
    }
}
