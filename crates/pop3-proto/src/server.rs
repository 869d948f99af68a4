//! The server side of a session as one type per state (RFC 1939 3).

mod authorization;
mod transaction;

pub use authorization::{Authorization, AuthorizationStep, LoginRequest, Policy};
pub use transaction::{Maildrop, Scan, Transaction, TransactionStep, Update};

/// Capabilities that hold in every state (RFC 2449 5). EXPIRE NEVER: the server removes nothing by itself.
const COMMON_CAPABILITIES: [&str; 8] = [
    "TOP",
    "UIDL",
    "RESP-CODES",
    "AUTH-RESP-CODE",
    "PIPELINING",
    "EXPIRE NEVER",
    "UTF8 USER",
    "IMPLEMENTATION Postrider",
];

#[cfg(test)]
mod tests;
