//! The POP3 server.

fn main() {}
