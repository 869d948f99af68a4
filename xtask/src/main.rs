//! The commands of the project: `cargo xtask up | test | ci | tidy | codegen | dialogs | bench`.

mod bench;
mod cargo;
mod ci;
mod codegen;
mod dialogs;
mod test;
mod tidy;
mod up;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "cargo xtask", about = "The commands of the project")]
struct Arguments {
    #[command(subcommand)]
    command: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Builds and starts everything below one directory and sends a first message.
    Up(up::Options),
    /// Runs every test, with SQLite and with a private MariaDB.
    Test(test::Options),
    /// Runs what CI runs: formatting, lints, tidiness, generated files, every test.
    Ci(test::Options),
    /// Checks the rules of ARCHITECTURE.md.
    Tidy,
    /// Writes the generated files anew: gRPC code and the configuration reference.
    Codegen,
    /// Measures release builds: mail, logins and lookups beside other servers, timing, a million mailboxes.
    Bench(bench::Options),
    /// Runs dialogues against a running server.
    Dialogs(dialogs::Options),
}

fn main() -> ExitCode {
    let outcome = match Arguments::parse().command {
        Task::Up(options) => up::run(&options),
        Task::Test(options) => test::run(&options),
        Task::Ci(options) => ci::run(&options),
        Task::Tidy => tidy::run(),
        Task::Codegen => codegen::run(),
        Task::Bench(options) => bench::run(&options),
        Task::Dialogs(options) => dialogs::run(&options),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
