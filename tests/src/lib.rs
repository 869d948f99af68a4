//! The end-to-end harness: real daemons, real databases, real sockets.
