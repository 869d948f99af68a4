//! What is allowed: one file per decision, pure functions of what is known.

pub mod access;
pub mod limits;
pub mod recipient;
pub mod sender;
