//! POP3 as bytes in, commands and replies out, without I/O or a clock.
