//! The one place for identity, addresses and passwords.

fn main() {}
