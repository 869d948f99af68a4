//! Values of the mail world that cannot be wrong: addresses, domains, ids, status codes, secrets.
//!
//! Every constructor checks, every field is private or harmless, so that code which holds one of these
//! need not ask again. Nothing here reads a clock, a random source or a file: what a value needs from
//! outside is an argument.

mod address;
mod dsn;
mod id;
mod reply;
mod secret;

pub use address::{Address, AddressError, Domain, ReversePath};
pub use dsn::{Notify, OriginalRecipient, Ret, xtext_decode, xtext_encode};
pub use id::{DeliveryKey, IdError, MailId, SessionId};
pub use reply::{EnhancedStatus, Reply};
pub use secret::Secret;
