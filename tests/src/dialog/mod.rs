//! The runner of `tests/dialogs/**/*.dialog`; the format is described in `tests/dialogs/README.md`.
