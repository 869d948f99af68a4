//! The runner of `tests/dialogs/**/*.dialog`; the format is described in `tests/dialogs/README.md`.

mod check;
mod connection;
mod parse;
mod pattern;
mod run;
mod step;
mod suite;
mod text;
mod world;

pub use parse::Row;
pub use suite::{run_against, run_folder};
