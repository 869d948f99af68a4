//! The IMAP server.
