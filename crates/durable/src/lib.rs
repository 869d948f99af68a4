//! The only code that makes files durable: publish a file under a name, append a record, and say when it is safe.
