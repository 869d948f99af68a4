//! Message headers, MIME structure and delivery status notifications as pure functions over bytes.
//!
//! * [`header`]: split header from body, iterate, find, count and remove fields, read the addresses of a field.
//! * [`mime`]: the structure that IMAP shows (ENVELOPE, BODYSTRUCTURE, sections).
//! * [`report`]: delivery status notifications (RFC 3464).
//!
//! Nothing here does I/O; limits are parameters, so that each daemon passes its own.

pub mod header;
pub mod mime;
pub mod report;
