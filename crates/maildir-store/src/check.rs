//! The offline consistency check of a Maildir.
