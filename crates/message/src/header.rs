//! Header fields over bytes: split, iterate, find, count, remove, and read the addresses in them.
