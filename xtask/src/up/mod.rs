//! `cargo xtask up`: a whole mail server below one directory, tried out and kept running in the foreground.

mod accounts;
mod endpoints;
mod first_message;
mod guide;
mod place;
mod say;
mod watch;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::Args;
use tests::Site;
use tests::binaries::Binaries;
use tests::mariadb::Address;
use tests::process::Account as SystemAccount;
use tests::site::SiteBuilder;

use say::Say;

/// What can be said about the server.
#[derive(Args)]
pub struct Options {
    /// Stop after the first message has been read back.
    #[arg(long)]
    once: bool,
    /// Where everything is kept (default: ./postrider-dev, or /var/tmp/postrider-dev where the daemons cannot reach that).
    #[arg(long)]
    dir: Option<PathBuf>,
    /// Use this database: mysql://user:password@host:port/database, or ...@localhost/database?socket=/path.
    #[arg(long)]
    mysql: Option<String>,
    /// Add the settings of this file (TOML as in postrider.toml).
    #[arg(long)]
    config: Option<PathBuf>,
    /// Add the example accounts even where the database has domains already.
    #[arg(long)]
    demo: bool,
}

/// The command.
pub fn run(options: &Options) -> Result<()> {
    let say = Say::new();
    say.heading("building the daemons");
    let binaries = Binaries::build_visibly()?;
    let directory = place::directory(options.dir.as_deref())?;
    let _lock = place::lock(&directory)?;
    let choice = place::choice()?;
    let ports = place::ports()?;
    say.heading(&format!("starting in {}", directory.display()));

    let mut builder = Site::builder()
        .with_binaries(binaries)
        .bare()
        .host_name("localhost")
        .directory(&directory, ports);
    if let Some(url) = &options.mysql {
        builder = use_mysql(builder, &directory, url)?;
    }
    if let Some(file) = &options.config {
        let text = fs::read_to_string(file).with_context(|| format!("read {}", file.display()))?;
        builder = builder.settings_text(&text);
    }
    let mut site = builder.prepare()?;
    for process in site.processes() {
        process.set_own_group();
    }
    start(&mut site, &say)?;
    drop(choice);
    let accounts = accounts::ensure(&site, &say, options.mysql.is_some(), options.demo)?;
    endpoints::write(&site, &accounts)?;
    match accounts.as_slice() {
        [from, to, ..] => first_message::send_and_read(&site, &say, from, to)?,
        _ => say.note(
            "no message was tried: the database has domains, and no example accounts were asked for (--demo)",
        ),
    }
    guide::print(&site, &accounts, &say);
    if options.once {
        site.shut_down()?;
        say.done("stopped, as asked by --once");
        return Ok(());
    }
    watch::foreground(&mut site, &say)
}

fn start(site: &mut Site, say: &Say) -> Result<()> {
    let names: Vec<String> = site
        .processes()
        .iter()
        .map(|process| process.name().to_owned())
        .collect();
    for name in names {
        say.step(&format!("starting {name}"), || site.start(&name))?;
    }
    Ok(())
}

/// Settings that lead authd to a database of the operator's.
fn use_mysql(builder: SiteBuilder, directory: &Path, url: &str) -> Result<SiteBuilder> {
    let address = Address::parse(url)?;
    let mut builder = builder
        .set("authd.backend", "mysql")
        .set("authd.mysql.user", address.user)
        .set("authd.mysql.database", address.database);
    let host = match address.socket {
        Some(socket) => format!("unix:{socket}"),
        None if address.host.contains(':') => format!("[{}]:{}", address.host, address.port),
        None => format!("{}:{}", address.host, address.port),
    };
    builder = builder.set("authd.mysql.hosts", vec![host]);
    if address.password.is_empty() {
        return Ok(builder);
    }
    let file = directory.join("etc/db-password");
    fs::create_dir_all(directory.join("etc"))?;
    place::write_private(&file, &format!("{}\n", address.password))?;
    SystemAccount::give(SystemAccount::unprivileged(), &file)?;
    Ok(builder.set("authd.mysql.password_file", file.display().to_string()))
}
