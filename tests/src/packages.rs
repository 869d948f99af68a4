//! Programs that the tests run beside our own, and Debian's packages that have them.

use std::env;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use anyhow::{Context, Result, ensure};
use nix::unistd::geteuid;

/// A program under any of its names, and the package that has it.
#[derive(Debug, Clone, Copy)]
pub struct Needed {
    /// Names of the program, the first one that exists is used.
    pub programs: &'static [&'static str],
    /// Debian's package.
    pub package: &'static str,
}

/// The database server.
pub const MARIADB: Needed = Needed {
    programs: &["mariadbd", "mysqld"],
    package: "mariadb-server",
};

/// A client of many protocols and mechanisms.
pub const CURL: Needed = Needed {
    programs: &["curl"],
    package: "curl",
};

/// A client for SASL, with channel bindings.
pub const GSASL: Needed = Needed {
    programs: &["gsasl"],
    package: "gsasl",
};

/// Python with its libraries for mail.
pub const PYTHON: Needed = Needed {
    programs: &["python3"],
    package: "python3",
};

/// OpenSSL's command line.
pub const OPENSSL: Needed = Needed {
    programs: &["openssl"],
    package: "openssl",
};

/// crypt(3) on the command line.
pub const MKPASSWD: Needed = Needed {
    programs: &["mkpasswd"],
    package: "whois",
};

/// Dovecot's tool, for its password schemes.
pub const DOVEADM: Needed = Needed {
    programs: &["doveadm"],
    package: "dovecot-core",
};

/// PHP on the command line, with two of its modules for PostfixAdmin: 8.2 and 8.4 are those of Debian 12 and 13.
pub const PHP: Needed = Needed {
    programs: &["php"],
    package: "php-cli",
};
/// Databases.
pub const PHP_MYSQL: Needed = Needed {
    programs: &[
        "/usr/lib/php/20220829/mysqli.so",
        "/usr/lib/php/20240924/mysqli.so",
    ],
    package: "php-mysql",
};
/// Texts.
pub const PHP_MBSTRING: Needed = Needed {
    programs: &[
        "/usr/lib/php/20220829/mbstring.so",
        "/usr/lib/php/20240924/mbstring.so",
    ],
    package: "php-mbstring",
};

/// Apache's tool for password files.
pub const HTPASSWD: Needed = Needed {
    programs: &["htpasswd"],
    package: "apache2-utils",
};

/// The panel.
pub const POSTFIXADMIN: Needed = Needed {
    programs: &["postfixadmin-cli"],
    package: "postfixadmin",
};

/// A client of saslauthd's socket.
pub const TESTSASLAUTHD: Needed = Needed {
    programs: &["testsaslauthd"],
    package: "sasl2-bin",
};

/// A server that lets libsasl check passwords; in the package of `testsaslauthd`.
pub const SASL_SERVER: Needed = Needed {
    programs: &["sasl-sample-server"],
    package: "sasl2-bin",
};

/// Clients of authdaemond's socket.
pub const AUTHTEST: Needed = Needed {
    programs: &["authtest"],
    package: "courier-authdaemon",
};

/// Courier's authentication daemon, with its module for MySQL. For the benchmark.
pub const COURIER: [Needed; 2] = [
    Needed {
        programs: &["/usr/lib/courier/courier-authlib/authdaemond"],
        package: "courier-authlib",
    },
    Needed {
        programs: &["/usr/lib/courier-authlib/libauthmysql.so.0"],
        package: "courier-authlib-mysql",
    },
];

/// Postfix, with its maps in MySQL. For the benchmark.
pub const POSTFIX: [Needed; 2] = [
    Needed {
        programs: &["postfix"],
        package: "postfix",
    },
    Needed {
        programs: &["/usr/lib/postfix/postfix-mysql.so"],
        package: "postfix-mysql",
    },
];

/// Everything that some test runs.
pub const ALL: [Needed; 18] = [
    MARIADB,
    CURL,
    GSASL,
    PYTHON,
    OPENSSL,
    MKPASSWD,
    DOVEADM,
    PHP,
    PHP_MYSQL,
    PHP_MBSTRING,
    HTPASSWD,
    POSTFIXADMIN,
    TESTSASLAUTHD,
    AUTHTEST,
    Needed {
        programs: &["strace"],
        package: "strace",
    },
    Needed {
        programs: &["xfs_io"],
        package: "xfsprogs",
    },
    Needed {
        programs: &["mkfs.ext4"],
        package: "e2fsprogs",
    },
    Needed {
        programs: &["systemd-analyze"],
        package: "systemd",
    },
];

/// Finds programs in `PATH` and where Debian keeps those of root; as root on Debian, installs what is missing.
///
/// # Errors
/// When something is missing and cannot be installed, with what to do about it.
pub fn ensure(needed: &[Needed]) -> Result<()> {
    let missing: Vec<&str> = needed
        .iter()
        .filter(|one| find(one.programs).is_none())
        .map(|one| one.package)
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    ensure!(
        geteuid().is_root() && Path::new("/usr/bin/apt-get").exists(),
        "missing on this machine: install the packages {} (as root on Debian this is done by itself)",
        missing.join(" ")
    );
    install(&missing)?;
    for one in needed {
        ensure!(
            find(one.programs).is_some(),
            "{} was installed but has no {}",
            one.package,
            one.programs.join(" or ")
        );
    }
    Ok(())
}

/// The path of the first of these programs that exists.
#[must_use]
pub fn find(programs: &[&str]) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let usual = ["/usr/sbin", "/sbin", "/usr/local/sbin", "/usr/libexec"].map(PathBuf::from);
    let places: Vec<PathBuf> = env::split_paths(&path).chain(usual).collect();
    programs
        .iter()
        .flat_map(|name| places.iter().map(move |place| place.join(name)))
        .find(|program| program.is_file())
}

/// Unpacks a package of Debian into `directory`, without installing it: for programs whose installation would set up
/// services. It is downloaded once.
///
/// # Errors
/// When it cannot be downloaded or unpacked.
pub fn unpack(package: &str, directory: &Path) -> Result<()> {
    let place = env::temp_dir().join(format!("postrider-packages-{}", geteuid()));
    fs::create_dir_all(&place)?;
    let lock = fs::File::create(place.join("lock"))?;
    lock.lock().context("lock of the packages")?;
    let downloaded = || -> Result<Option<PathBuf>> {
        for entry in fs::read_dir(&place)? {
            let name = entry?.file_name().to_string_lossy().into_owned();
            if name.starts_with(&format!("{package}_")) && name.ends_with(".deb") {
                return Ok(Some(place.join(name)));
            }
        }
        Ok(None)
    };
    if downloaded()?.is_none() {
        let download = || {
            let mut command = Command::new("apt-get");
            command.current_dir(&place).args(["download", "-q", package]);
            command.stdin(Stdio::null()).output().context("run apt-get")
        };
        let mut output = download()?;
        if !output.status.success() {
            apt(&["update", "-q"])?;
            output = download()?;
        }
        ensure!(
            output.status.success(),
            "apt-get download {package}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
    let file = downloaded()?.with_context(|| format!("apt-get has left no {package}"))?;
    let mut unpack = Command::new("dpkg-deb");
    unpack
        .arg("--extract")
        .arg(&file)
        .arg(directory)
        .stdin(Stdio::null());
    let output = unpack.output().context("run dpkg-deb")?;
    if !output.status.success() {
        // Perhaps the download was cut; the next run gets it anew.
        fs::remove_file(&file)?;
    }
    ensure!(
        output.status.success(),
        "dpkg-deb --extract {}: {}",
        file.display(),
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(())
}

/// `apt-get install`, with a policy that keeps Debian from starting services of the system.
fn install(packages: &[&str]) -> Result<()> {
    eprintln!("installing {} (no service is started)...", packages.join(" "));
    let policy = Path::new("/usr/sbin/policy-rc.d");
    let ours = !policy.exists();
    if ours {
        fs::write(policy, "#!/bin/sh\nexit 101\n")?;
        fs::set_permissions(policy, fs::Permissions::from_mode(0o755))?;
    }
    // Old lists may do as well: what counts is whether the installation succeeds.
    let _ = apt(&["update", "-q"]);
    let output = apt(&[&["install", "-y", "-q", "--no-install-recommends"], packages].concat());
    if ours {
        fs::remove_file(policy)?;
    }
    let output = output?;
    ensure!(
        output.status.success(),
        "apt-get install: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(())
}

fn apt(arguments: &[&str]) -> Result<Output> {
    let mut command = Command::new("apt-get");
    command
        .args(arguments)
        .env("DEBIAN_FRONTEND", "noninteractive")
        .stdin(Stdio::null());
    command.output().context("run apt-get")
}
