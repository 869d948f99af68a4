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

/// A file: a whole path, or `credential:NAME` for a file that systemd hands to the process (LoadCredential=).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct FileName(Source);

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Source {
    Path(PathBuf),
    /// A name below `$CREDENTIALS_DIRECTORY`.
    Credential(String),
}

impl FileName {
    /// The path. A credential has one only where systemd started the process with it.
    pub fn path(&self) -> Result<PathBuf, std::io::Error> {
        self.path_below(
            std::env::var_os("CREDENTIALS_DIRECTORY")
                .map(PathBuf::from)
                .as_deref(),
        )
    }

    pub(super) fn path_below(&self, credentials: Option<&Path>) -> Result<PathBuf, std::io::Error> {
        match (&self.0, credentials) {
            (Source::Path(path), _) => Ok(path.clone()),
            (Source::Credential(name), Some(directory)) => Ok(directory.join(name)),
            (Source::Credential(_), None) => Err(std::io::Error::new(
                std::io::ErrorKind::NotFound,
                "this process has no credentials; LoadCredential= in its unit hands them over",
            )),
        }
    }

    fn is_credential(&self) -> bool {
        matches!(self.0, Source::Credential(_))
    }
}

impl FromStr for FileName {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let Some(name) = text.strip_prefix("credential:") else {
            return absolute(text).map(Source::Path).map(Self);
        };
        let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_');
        if name.is_empty() || name.starts_with('.') || !name.bytes().all(plain) {
            return Err(format!(
                "{text:?}: the name of a credential has letters, digits, dots, - and _ only"
            ));
        }
        Ok(Self(Source::Credential(name.to_owned())))
    }
}

impl fmt::Display for FileName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Source::Path(path) => path.display().fmt(f),
            Source::Credential(name) => write!(f, "credential:{name}"),
        }
    }
}

text_option!(
    FileName,
    "FileName",
    "a path in quotes, or \"credential:NAME\"",
    { "type": "string", "x-type": "path or credential:NAME" }
);

/// A file that holds a password or a private key.
///
/// Only the owner may be able to read it (mode 0400 or 0600). A credential of systemd lies in a directory of
/// its unit and may carry an access list, which shows as rights of the group; others may have none there too.
/// The configuration holds the name, never the secret.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct SecretFile(FileName);

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

    /// Refuses permission bits for group or others; looks at the file, reads nothing.
    pub fn check(&self) -> Result<(), SecretFileError> {
        let (path, io) = self.locate()?;
        self.judge(&path, &std::fs::metadata(&path).map_err(io)?)
    }

    /// The path, and how to say that it does not open.
    fn locate(&self) -> Result<(PathBuf, impl Fn(std::io::Error) -> SecretFileError), SecretFileError> {
        let failed = |path: PathBuf| {
            move |source| SecretFileError::Io {
                path: path.clone(),
                source,
            }
        };
        let path = self.0.path().map_err(failed(self.to_string().into()))?;
        Ok((path.clone(), failed(path)))
    }

    fn judge(&self, path: &Path, metadata: &std::fs::Metadata) -> Result<(), SecretFileError> {
        let mode = metadata.mode() & 0o7777;
        let nobody = if self.0.is_credential() { 0o007 } else { 0o077 };
        if mode & nobody != 0 {
            return Err(SecretFileError::Readable {
                path: path.to_owned(),
                mode,
            });
        }
        if !metadata.is_file() || metadata.len() > Self::MAX {
            return Err(SecretFileError::NotAFile {
                path: path.to_owned(),
            });
        }
        Ok(())
    }

    /// Reads the file whole, as it is (a key in PEM). The check is made on the opened file.
    pub fn read(&self) -> Result<Secret, SecretFileError> {
        let (path, io) = self.locate()?;
        let file = std::fs::File::open(&path).map_err(&io)?;
        self.judge(&path, &file.metadata().map_err(&io)?)?;
        let mut bytes = Vec::new();
        file.take(Self::MAX).read_to_end(&mut bytes).map_err(&io)?;
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
        text.parse().map(Self)
    }
}

impl From<FileName> for SecretFile {
    fn from(name: FileName) -> Self {
        Self(name)
    }
}

impl fmt::Display for SecretFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

text_option!(
    SecretFile,
    "SecretFile",
    "the path in quotes of a file that only its owner can read, or \"credential:NAME\"",
    { "type": "string", "x-type": "path or credential:NAME of a secret", "x-secret-file": true }
);
