//! SASL mechanisms and password schemes, without I/O.
//!
//! A mechanism ([`mechanism::Mechanism`]) is a state machine fed with the peer's responses, base64 already
//! removed. It ends by asking its owner to check a login and password, or by failing:
//!
//! ```
//! use mail_types::Secret;
//! use sasl::mechanism::{self, Step};
//! let mut plain = mechanism::find("plain").unwrap().start();
//! match plain.step(Some(Secret::new(*b"\0u@example.com\0secret"))) {
//!     Step::CheckPassword(credentials) => assert_eq!(credentials.login, "u@example.com"),
//!     _ => unreachable!(),
//! }
//! ```
//!
//! A stored password ([`password::Stored`]) is read from its database column, which checks its cost, and
//! then verified. Both calls are pure; `verify` may take a second of processor time and belongs on a pool.

pub mod mechanism;
pub mod password;
