//! What one call of mailctl has at hand: configuration, output, connections.

use std::cell::OnceCell;
use std::io::ErrorKind;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use auth_api::client::Client;
use config::Config;
use queue_api::client::QueueClient;

use crate::error::Failure;
use crate::output::Output;

/// One call of mailctl.
pub(crate) struct Session {
    paths: Vec<PathBuf>,
    config: OnceCell<Config>,
    /// Where results go.
    pub(crate) output: Output,
}

impl Session {
    /// Nothing is read or opened before it is needed.
    pub(crate) fn new(paths: Vec<PathBuf>, json: bool) -> Self {
        Self {
            paths,
            config: OnceCell::new(),
            output: Output::new(json),
        }
    }

    /// The configuration files.
    pub(crate) fn config_paths(&self) -> &[PathBuf] {
        &self.paths
    }

    /// The configuration.
    pub(crate) fn config(&self) -> Result<&Config, Failure> {
        if let Some(config) = self.config.get() {
            return Ok(config);
        }
        let config =
            Config::load_layered(&self.paths).map_err(|errors| Failure::config(errors.to_string()))?;
        Ok(self.config.get_or_init(|| config))
    }

    /// authd, with everything that an administrator may.
    pub(crate) fn authd(&self) -> Result<Client, Failure> {
        let socket = self.config()?.general.authd_socket("admin");
        probe(&socket, "authd")?;
        Ok(Client::connect(socket))
    }

    /// qmgr.
    pub(crate) fn qmgr(&self) -> Result<QueueClient, Failure> {
        let socket = self.config()?.general.qmgr_admin_socket();
        probe(&socket, "qmgr")?;
        Ok(QueueClient::connect(socket))
    }
}

/// Finds out why a socket cannot be used, where it cannot, in words that help.
fn probe(socket: &Path, daemon: &str) -> Result<(), Failure> {
    let Err(error) = UnixStream::connect(socket) else {
        return Ok(());
    };
    let message = format!("cannot reach {daemon} at {}: {error}", socket.display());
    Err(match error.kind() {
        ErrorKind::PermissionDenied => Failure::denied(
            message,
            "run it as root or as a member of the group that owns the socket's directory",
        ),
        _ => Failure::unreachable(
            message,
            format!("is {daemon} running, with the same configuration? systemctl status postrider-{daemon}"),
        ),
    })
}
