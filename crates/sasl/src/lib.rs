//! SASL mechanisms and password schemes, without I/O.
//!
//! A mechanism ([`mechanism::Mechanism`]) is a state machine fed with the peer's responses, base64 already
//! removed. On the way it may ask its owner for what is stored of a user. It ends by asking its owner to
//! check a login and password, by a verdict of its own, or by failing:
//!
//! ```
//! use mail_types::Secret;
//! use sasl::mechanism::{self, Step};
//! # let parameters = mechanism::Parameters {
//! #     random: [0; 32], hostname: String::new(), service: "imap", unix_time: 0, tls_exporter: vec![],
//! #     tls_server_end_point: vec![], plus_offered: false, certificate_names: vec![],
//! #     scram: mechanism::ScramShape { iterations: 4096, derived: false }, decoy_key: [0; 32],
//! # };
//! let mut plain = mechanism::find("plain").unwrap().start(parameters);
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
