//! The typed face of qmgr: wake-up hints and queue administration over gRPC on a Unix socket.
