//! The generated code, private to this crate.

#![allow(missing_docs, clippy::all, clippy::pedantic)]

pub mod admin {
    include!("generated/postrider.admin.v1.rs");
}
pub mod directory {
    include!("generated/postrider.directory.v1.rs");
}
pub mod sasl {
    include!("generated/postrider.sasl.v1.rs");
}
