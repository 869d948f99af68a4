//! IMAP4rev1 as bytes in, commands and responses out, without I/O or a clock.
