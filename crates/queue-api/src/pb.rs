//! The generated code, private to this crate.

#![allow(missing_docs, clippy::all, clippy::pedantic)]

include!("generated/postrider.queue.v1.rs");
