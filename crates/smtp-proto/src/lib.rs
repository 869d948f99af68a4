//! SMTP and LMTP as bytes in, events out: server and client side, without I/O or a clock.
