//! The IMAP server.

fn main() {}
