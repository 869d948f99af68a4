//! Sending a message to another host: addresses, connection, TLS, transaction; what came of each recipient.

mod addresses;
mod content;
mod convert;
mod dns;
mod fit;
mod send;
mod tls;
pub(crate) mod transaction;
mod wire;

pub use addresses::{Dns, DnsError, Host, Lookup};
pub use content::Content;
pub use dns::SystemDns;
pub use send::Sender;
pub use tls::client_config;
pub(crate) use wire::Wire;
