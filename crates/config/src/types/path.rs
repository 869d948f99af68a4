//! Absolute paths, and files that hold a secret and must not be readable by others.

use std::fmt;
use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use mail_types::Secret;

use super::text_option;

/// A path that starts with `/`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct AbsolutePath(PathBuf);

impl AbsolutePath {
    /// The path.
    pub fn as_path(&self) -> &Path {
        &self.0
    }

    /// The path with `name` behind it.
    pub fn join(&self, name: impl AsRef<Path>) -> PathBuf {
        self.0.join(name)
    }
}

impl FromStr for AbsolutePath {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        absolute(text).map(Self)
    }
}

fn absolute(text: &str) -> Result<PathBuf, String> {
    let path = PathBuf::from(text);
    if path.is_absolute() && !text.contains('\0') {
        Ok(path)
    } else {
        Err(format!("{text:?} has to be a whole path that starts with /"))
    }
}

impl fmt::Display for AbsolutePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.display().fmt(f)
    }
}

text_option!(
    AbsolutePath,
    "AbsolutePath",
    "a path in quotes",
    { "type": "string", "x-type": "path" }
);

/// The path of a file that holds a password or a private key.
///
/// Only the owner may be able to read the file (mode 0400 or 0600); the configuration holds the path,
/// never the secret.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct SecretFile(PathBuf);

/// Why a secret cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SecretFileError {
    /// The file cannot be read.
    #[error("cannot read {}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// Others than the owner may read it.
    #[error("{} can be read by others than its owner (mode {mode:04o}); run: chmod 0600 {}", path.display(), path.display())]
    Readable {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// It is larger than any password or key (1 MiB), or no plain file.
    #[error("{} is not a plain file of at most 1 MiB", path.display())]
    NotAFile {
        /// The file.
        path: PathBuf,
    },
}

impl SecretFile {
    /// Largest file that is read, in bytes.
    const MAX: u64 = 1 << 20;

    /// The path.
    pub fn as_path(&self) -> &Path {
        &self.0
    }

    /// Refuses permission bits for group or others; looks at the file, reads nothing.
    pub fn check(&self) -> Result<(), SecretFileError> {
        let path = &self.0;
        let metadata = std::fs::metadata(path).map_err(|source| SecretFileError::Io {
            path: path.clone(),
            source,
        })?;
        self.judge(&metadata)
    }

    fn judge(&self, metadata: &std::fs::Metadata) -> Result<(), SecretFileError> {
        let mode = metadata.mode() & 0o7777;
        if mode & 0o077 != 0 {
            return Err(SecretFileError::Readable {
                path: self.0.clone(),
                mode,
            });
        }
        if !metadata.is_file() || metadata.len() > Self::MAX {
            return Err(SecretFileError::NotAFile { path: self.0.clone() });
        }
        Ok(())
    }

    /// Reads the file whole, as it is (a key in PEM). The check is made on the opened file.
    pub fn read(&self) -> Result<Secret, SecretFileError> {
        let io = |source| SecretFileError::Io {
            path: self.0.clone(),
            source,
        };
        let file = std::fs::File::open(&self.0).map_err(io)?;
        self.judge(&file.metadata().map_err(io)?)?;
        let mut bytes = Vec::new();
        file.take(Self::MAX).read_to_end(&mut bytes).map_err(io)?;
        Ok(Secret::new(bytes))
    }

    /// Reads a password: the first line, without its line end.
    pub fn read_line(&self) -> Result<Secret, SecretFileError> {
        let whole = self.read()?;
        let line = whole.expose().split(|b| *b == b'\n').next().unwrap_or_default();
        Ok(Secret::new(line.strip_suffix(b"\r").unwrap_or(line)))
    }
}

impl FromStr for SecretFile {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        absolute(text).map(Self)
    }
}

impl fmt::Display for SecretFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.display().fmt(f)
    }
}

text_option!(
    SecretFile,
    "SecretFile",
    "the path in quotes of a file that only its owner can read",
    { "type": "string", "x-type": "path of a secret", "x-secret-file": true }
);
