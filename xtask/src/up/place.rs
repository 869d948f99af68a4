//! Where `up` puts everything, and which ports it takes.

use std::fs::{self, File};
use std::io::Write;
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use nix::unistd::geteuid;
use tests::site::Ports;

/// Where everything goes when nothing is said and the daemons can reach it.
const HERE: &str = "postrider-dev";
/// Where it goes otherwise: for root with a clone below a home directory that is closed to other accounts.
const ELSEWHERE: &str = "/var/tmp/postrider-dev";

/// The directory, made if need be. For root it has to be reachable for the account that the daemons run under.
pub fn directory(asked: Option<&Path>) -> Result<PathBuf> {
    let wanted = match asked {
        Some(directory) => directory.to_path_buf(),
        None if obstacle(&std::env::current_dir()?)?.is_some() => PathBuf::from(ELSEWHERE),
        None => PathBuf::from(HERE),
    };
    fs::create_dir_all(&wanted).with_context(|| format!("make {}", wanted.display()))?;
    fs::set_permissions(&wanted, fs::Permissions::from_mode(0o755))
        .with_context(|| wanted.display().to_string())?;
    let directory = fs::canonicalize(&wanted)?;
    if let Some(closed) = obstacle(&directory)? {
        bail!(
            "{} is closed to other accounts, so the daemons (which do not run as root) cannot reach {}: \
             choose another place with --dir",
            closed.display(),
            directory.display()
        );
    }
    Ok(directory)
}

/// The first directory on the way that an unprivileged account cannot pass; looked for only as root.
fn obstacle(directory: &Path) -> Result<Option<PathBuf>> {
    if !geteuid().is_root() {
        return Ok(None);
    }
    for part in directory.ancestors() {
        let mode = fs::metadata(part)
            .with_context(|| part.display().to_string())?
            .permissions()
            .mode();
        if mode & 0o001 == 0 {
            return Ok(Some(part.to_path_buf()));
        }
    }
    Ok(None)
}

/// Takes the directory for this process; it is free again when the file is closed.
pub fn lock(directory: &Path) -> Result<File> {
    let file = File::create(directory.join("up.lock"))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(fs::TryLockError::WouldBlock) => {
            bail!("another `cargo xtask up` runs in {}", directory.display())
        }
        Err(fs::TryLockError::Error(error)) => Err(error).context("lock of the directory"),
    }
}

/// Held from the choice of ports until they are taken, so that two `up` at a time do not choose the same.
pub fn choice() -> Result<File> {
    let path = std::env::temp_dir().join(format!("postrider-ports-{}.lock", geteuid()));
    let file = File::create(&path).with_context(|| path.display().to_string())?;
    file.lock().context("lock of the ports")?;
    Ok(file)
}

/// The usual ports, and a free one instead of each that is taken.
pub fn ports() -> Result<Ports> {
    let usual = Ports::default();
    Ok(Ports {
        smtp: free(usual.smtp)?,
        submission: free(usual.submission)?,
        submissions: free(usual.submissions)?,
        imap: free(usual.imap)?,
        imaps: free(usual.imaps)?,
        pop3: free(usual.pop3)?,
        pop3s: free(usual.pop3s)?,
    })
}

fn free(port: u16) -> Result<u16> {
    if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
        return Ok(port);
    }
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("no free port")?;
    Ok(listener.local_addr()?.port())
}

/// Writes a file that only its owner may read, from its first byte on.
pub fn write_private(path: &Path, text: &str) -> Result<()> {
    let new = path.with_extension("new");
    match fs::remove_file(&new) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error.into()),
        _ => {}
    }
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&new)?;
    file.write_all(text.as_bytes())?;
    fs::rename(&new, path).with_context(|| path.display().to_string())
}
