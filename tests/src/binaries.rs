//! The daemons' executables: built once per test run, found beside the running test.

use std::env;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

/// The programs that make up a site: the six daemons and the operator's command line.
pub const PROGRAMS: [&str; 7] = ["authd", "smtpd", "qmgr", "deliver", "imapd", "pop3d", "mailctl"];

/// The directory that holds the executables of one build.
#[derive(Debug, Clone)]
pub struct Binaries {
    directory: PathBuf,
}

impl Binaries {
    /// Finds the executables: in `POSTRIDER_BIN_DIR` if that is set (as `cargo xtask test` does), else beside the running
    /// program, where they are built first, once per run of cargo or nextest.
    ///
    /// # Errors
    /// When cargo cannot be run or the build fails; cargo's messages are in the error.
    pub fn locate() -> Result<Self> {
        if let Some(directory) = env::var_os("POSTRIDER_BIN_DIR") {
            return Ok(Self {
                directory: directory.into(),
            });
        }
        let directory = profile_directory()?;
        let target = directory.parent().context("the build directory has no parent")?;
        let lock = File::create(target.join("postrider-tests.lock"))?;
        lock.lock().context("lock of the harness's build")?;
        let run =
            env::var("NEXTEST_RUN_ID").unwrap_or_else(|_| std::os::unix::process::parent_id().to_string());
        let stamp = target.join("postrider-tests.built");
        let this = format!("{run} {}", directory.display());
        if fs::read_to_string(&stamp).ok().as_deref() != Some(this.as_str()) {
            build(target, &directory, false)?;
            fs::write(&stamp, this)?;
        }
        Ok(Self { directory })
    }

    /// Builds the executables into the build directory of the running program, with cargo's progress on the terminal
    /// (unless `POSTRIDER_BIN_DIR` names some).
    ///
    /// # Errors
    /// When cargo cannot be run or the build fails.
    pub fn build_visibly() -> Result<Self> {
        if let Some(directory) = env::var_os("POSTRIDER_BIN_DIR") {
            return Ok(Self {
                directory: directory.into(),
            });
        }
        let directory = profile_directory()?;
        let target = directory.parent().context("the build directory has no parent")?;
        build(target, &directory, true)?;
        Ok(Self { directory })
    }

    /// Where the executables lie.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Links (or copies, across file systems) the executables into `place`, so that a rebuild does not change a
    /// running site and an unprivileged account reaches them wherever the build directory is.
    ///
    /// # Errors
    /// When a program was not built or cannot be copied.
    pub fn install(&self, place: &Path) -> Result<()> {
        fs::create_dir_all(place)?;
        for program in PROGRAMS {
            let from = self.directory.join(program);
            let to = place.join(program);
            match fs::remove_file(&to) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error.into()),
                _ => {}
            }
            if fs::hard_link(&from, &to).is_err() {
                fs::copy(&from, &to)
                    .with_context(|| format!("copy {} to {}", from.display(), to.display()))?;
            }
        }
        Ok(())
    }
}

/// The workspace's root: that of the cargo that runs this program. What was compiled in is only for programs that are run
/// without cargo, because a target directory that several clones share holds the path of the clone that built first.
#[must_use]
pub fn workspace_root() -> PathBuf {
    let package = env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
    let package = Path::new(&package);
    package
        .ancestors()
        .find(|directory| directory.join("Cargo.lock").exists())
        .or(package.parent())
        .unwrap_or(Path::new("."))
        .to_path_buf()
}

/// `target/debug` or `target/release`, from the path of the running test (`.../deps/NAME`) or of xtask.
fn profile_directory() -> Result<PathBuf> {
    let program = env::current_exe()?;
    let mut directory = program.parent().context("the running program lies nowhere")?;
    if directory.ends_with("deps") || directory.ends_with("examples") {
        directory = directory.parent().context("no build directory above deps")?;
    }
    Ok(directory.to_path_buf())
}

fn build(target: &Path, directory: &Path, visible: bool) -> Result<()> {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command
        .current_dir(workspace_root())
        .args(["build", "--bins", "--target-dir"])
        .arg(target);
    for program in PROGRAMS {
        command.args(["-p", program]);
    }
    if directory.ends_with("release") {
        command.arg("--release");
    }
    if visible {
        command.stderr(Stdio::inherit());
    }
    let output = command
        .stdin(Stdio::null())
        .output()
        .context("run cargo to build the daemons")?;
    if !output.status.success() {
        bail!(
            "the daemons do not build ({}):\n{}",
            output.status,
            String::from_utf8_lossy(&output.stderr)
        );
    }
    Ok(())
}
