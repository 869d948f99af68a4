//! The SMTP server: the dialogue and the accept decision.

fn main() {}
