//! SASL mechanisms and password schemes, without I/O.
