//! The typed decision log: one JSON line for each decision that a daemon takes.
