//! Between the generated messages and the plain types, one file per service; each direction is the inverse
//! of the other. A message that breaks the contract is a [`Malformed`], which no peer ever hears of.

mod access;
pub mod admin;
pub mod directory;
mod explain;
pub mod panel;
pub mod sasl;
pub mod state;

use mail_types::{Address, Domain};

/// A message that is not what its `.proto` promises.
#[derive(Debug, thiserror::Error)]
#[error("malformed {0}")]
pub struct Malformed(pub &'static str);

impl From<Malformed> for crate::Unavailable {
    fn from(error: Malformed) -> Self {
        Self::new(error.to_string())
    }
}

impl From<Malformed> for tonic::Status {
    fn from(error: Malformed) -> Self {
        Self::invalid_argument(error.to_string())
    }
}

/// Reads an address.
pub fn address(text: &str) -> Result<Address, Malformed> {
    Address::parse(text).map_err(|_| Malformed("address"))
}

/// Reads a domain.
pub fn domain(text: &str) -> Result<Domain, Malformed> {
    Domain::new(text).map_err(|_| Malformed("domain"))
}
