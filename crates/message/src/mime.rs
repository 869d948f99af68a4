//! MIME structure: ENVELOPE, BODYSTRUCTURE, access to sections, decoding for SEARCH.
//!
//! Messages lie on disk with LF line ends (some with CRLF) while IMAP shows CRLF. Nothing is converted to
//! find that out: a [`Position`] knows its offset in the stored bytes and how many CR are missing before it,
//! so sizes and partial ranges in CRLF terms are a subtraction.
//!
//! * [`Structure::parse`] reads the tree in one pass over the lines, on an explicit stack, with the caps of
//!   [`MAX_DEPTH`], [`MAX_PARTS`] and [`MAX_PARAMETERS`]; what lies deeper or beyond is opaque.
//! * [`Structure::section`] finds what `BODY[1.2.HEADER]` names; [`Crlf`] shows it, or a range of it,
//!   with CRLF line ends.
//! * [`Envelope::parse`] reads a header as ENVELOPE shows it: undecoded.
//! * [`decode`] turns headers and bodies into text for SEARCH: encoded words, transfer encodings, charsets.
//!
//! ```
//! use message::mime::{SectionText, Structure, to_crlf};
//! let raw = b"Subject: x\n\nbody\n";
//! let structure = Structure::parse(raw);
//! assert_eq!(structure.size(), 20);
//! let text = structure.section(raw, &[], &SectionText::Text).unwrap();
//! assert_eq!(to_crlf(text.bytes(raw)), b"body\r\n");
//! ```

pub mod decode;

mod content;
mod crlf;
mod envelope;
mod section;
mod structure;

pub use content::{Content, Disposition, Parameters};
pub use crlf::{Crlf, crlf_len, to_crlf};
pub use envelope::{Envelope, EnvelopeAddress};
pub use section::{Section, SectionText};
pub use structure::{Kind, Part, Position, Structure};

/// Depth of nested parts; a multipart or message below it is opaque (robustness.md M01).
pub const MAX_DEPTH: usize = 100;
/// Parts of one message; what follows the last one belongs to it (robustness.md M02).
pub const MAX_PARTS: usize = 10_000;
/// Parameters of one Content-Type or Content-Disposition field (robustness.md M05).
pub const MAX_PARAMETERS: usize = 256;
/// Octets of a boundary; a longer one delimits nothing (robustness.md M10).
pub const MAX_BOUNDARY: usize = 2048;
/// Octets of one structured field that are looked at.
pub const MAX_FIELD: usize = 65_536;
/// Addresses in one ENVELOPE field.
pub const MAX_ADDRESSES: usize = 5_000;
