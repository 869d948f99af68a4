//! Whole sessions in memory: a fake authd on a socket of its own, a Maildir in a temporary directory.

mod authd;
mod folders;
mod hostile;
mod limits;
mod login;
mod messages;
mod two_sessions;
mod world;
