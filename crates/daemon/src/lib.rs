//! What every daemon needs around its protocol: arguments, logging, listeners, TLS with reload, limits, drain.
