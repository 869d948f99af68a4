//! Names of folders: checked once, so that no path is ever made of an unchecked one.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::os::unix::ffi::OsStrExt;

use crate::mutf7;

/// A text that cannot be the name of a folder.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "a folder name has levels separated by '.', none of them empty, without '/' and control characters, and is not too long"
)]
pub struct BadName;

/// The name of a folder: decoded, levels separated by `.`, INBOX for the root. `INBOX.x` is another way to
/// write `x` (architecture.md section 4).
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FolderName(String);

impl FolderName {
    /// Checks a name.
    pub fn parse(text: &str) -> Result<Self, BadName> {
        if text.eq_ignore_ascii_case(INBOX) {
            return Ok(Self::inbox());
        }
        let text = match text.get(..6) {
            Some(prefix) if prefix.eq_ignore_ascii_case("INBOX.") => &text[6..],
            _ => text,
        };
        let levels = text.split('.').count();
        let plain = !text.contains('/') && !text.chars().any(char::is_control);
        // 255 bytes are what a directory name may have; one is the leading dot.
        let fits = text.len() <= 254 && mutf7::encode(text).len() <= 254 && levels <= 32;
        if !plain || !fits || text.split('.').any(str::is_empty) || text.eq_ignore_ascii_case(INBOX) {
            return Err(BadName);
        }
        Ok(Self(text.to_owned()))
    }

    /// INBOX.
    pub fn inbox() -> Self {
        Self(INBOX.to_owned())
    }

    /// Whether it is INBOX.
    pub fn is_inbox(&self) -> bool {
        self.0 == INBOX
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name one level up; None at the top.
    pub fn parent(&self) -> Option<Self> {
        self.0.rsplit_once('.').map(|(parent, _)| Self(parent.to_owned()))
    }

    /// Whether `self` lies below `other`.
    pub fn is_below(&self, other: &Self) -> bool {
        self.0
            .strip_prefix(&other.0)
            .is_some_and(|rest| rest.starts_with('.'))
    }

    /// The directory of a new folder: a dot and modified UTF-7.
    pub(crate) fn directory(&self) -> OsString {
        format!(".{}", mutf7::encode(&self.0)).into()
    }

    /// All directories that may hold this folder, the usual spelling first (compat.md 4.1).
    pub(crate) fn directories(&self) -> Vec<OsString> {
        let mut spellings = vec![self.directory()];
        if !self.0.is_ascii() || self.0.contains('&') {
            spellings.push(format!(".{}", self.0).into());
        }
        spellings
    }

    /// The folder that a directory below the root holds; None where it is none of ours.
    pub(crate) fn of_directory(directory: &OsStr) -> Option<Self> {
        let text = std::str::from_utf8(directory.as_bytes())
            .ok()?
            .strip_prefix('.')?;
        // Courier from 5.0 on writes UTF-8; what is not well-formed modified UTF-7 is taken as it stands.
        let decoded = if text.is_ascii() {
            mutf7::decode(text)
        } else {
            None
        };
        let name = Self::parse(decoded.as_deref().unwrap_or(text)).ok()?;
        // `.INBOX` is not INBOX, and `.INBOX.x` would be taken for `.x`.
        if name.is_inbox() {
            return None;
        }
        name.directories().iter().any(|d| d == directory).then_some(name)
    }

    /// The name with the part `old` at its front replaced by `new`.
    pub(crate) fn moved(&self, old: &Self, new: &Self) -> Result<Self, BadName> {
        let rest = self.0.strip_prefix(&old.0).ok_or(BadName)?;
        Self::parse(&format!("{}{rest}", new.0))
    }
}

impl fmt::Display for FolderName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for FolderName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

const INBOX: &str = "INBOX";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_directories() {
        for (text, name, directory) in [
            ("Sent", "Sent", ".Sent"),
            ("INBOX.Sent", "Sent", ".Sent"),
            ("inbox.Lists.Work", "Lists.Work", ".Lists.Work"),
            ("Résumé", "Résumé", ".R&AOk-sum&AOk-"),
            ("a&b", "a&b", ".a&-b"),
        ] {
            let parsed = FolderName::parse(text).unwrap();
            assert_eq!(parsed.as_str(), name);
            assert_eq!(parsed.directory(), OsStr::new(directory));
            assert_eq!(FolderName::of_directory(OsStr::new(directory)), Some(parsed));
        }
        assert!(FolderName::parse("iNbOx").unwrap().is_inbox());
        // A Courier 5 spelling.
        assert_eq!(
            FolderName::of_directory(OsStr::new(".Résumé")).unwrap().as_str(),
            "Résumé"
        );
    }

    #[test]
    fn what_is_no_folder() {
        for bad in [
            "",
            ".",
            "..",
            "a..b",
            ".a",
            "a.",
            "a/b",
            "../x",
            "a\0b",
            "a\nb",
            "INBOX.INBOX",
            "INBOX.",
        ] {
            assert!(FolderName::parse(bad).is_err(), "{bad:?}");
        }
        assert!(FolderName::parse(&"x".repeat(255)).is_err());
        assert!(FolderName::parse(&"é".repeat(120)).is_err());
        for bad in [
            "cur",
            ".",
            "..",
            ".INBOX",
            ".INBOX.x",
            ".a..b",
            "postrider-making-1",
            ".&AGE-/x",
        ] {
            assert_eq!(FolderName::of_directory(OsStr::new(bad)), None, "{bad}");
        }
    }
}
