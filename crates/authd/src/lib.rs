//! The one place for identity, addresses and passwords.
pub mod directory;
