//! Tests over real sockets: listeners, limits, drain, TLS, reload.

mod limits;
mod listen;
mod reload;
mod serve;
mod tls;
