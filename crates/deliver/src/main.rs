//! Final delivery into Maildirs over LMTP.

fn main() {}
