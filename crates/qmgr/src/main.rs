//! The queue manager: routing, retry, reports, outbound SMTP.

fn main() {}
