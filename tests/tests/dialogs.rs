//! The dialogues of `tests/dialogs`, one test for each folder.

use anyhow::Result;
use tests::dialog;

#[test]
fn smtp() -> Result<()> {
    dialog::run_folder("smtp")
}

#[test]
fn pop3() -> Result<()> {
    dialog::run_folder("pop3")
}

#[test]
fn imap() -> Result<()> {
    dialog::run_folder("imap")
}
