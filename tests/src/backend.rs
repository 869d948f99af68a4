//! Where a site's rows live: SQLite or MariaDB, in one of the forms of the PostfixAdmin schema.

use std::fmt;
use std::path::Path;

use anyhow::{Context, Result};
use rusqlite::types::ValueRef;

use crate::mariadb::Server;
use crate::schema;

/// The database engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Engine {
    /// The embedded file.
    Sqlite,
    /// A private server of the test run.
    MariaDb,
}

/// The form of the schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// The seven tables of PostfixAdmin 2.1.
    V2_1,
    /// PostfixAdmin 3.3.
    V3_3,
    /// PostfixAdmin 4.0.
    V4_0,
}

/// An engine with a schema form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backend {
    /// The database engine.
    pub engine: Engine,
    /// The form of the schema.
    pub form: Form,
}

impl Backend {
    /// SQLite with the form that authd itself makes.
    pub const SQLITE: Self = Self {
        engine: Engine::Sqlite,
        form: Form::V4_0,
    };
    /// MariaDB with the form that most sites have.
    pub const MARIADB: Self = Self {
        engine: Engine::MariaDb,
        form: Form::V3_3,
    };
    /// Every combination that the end-to-end tests are run on.
    pub const ALL: [Self; 6] = [
        Self {
            engine: Engine::Sqlite,
            form: Form::V2_1,
        },
        Self {
            engine: Engine::Sqlite,
            form: Form::V3_3,
        },
        Self {
            engine: Engine::Sqlite,
            form: Form::V4_0,
        },
        Self {
            engine: Engine::MariaDb,
            form: Form::V2_1,
        },
        Self {
            engine: Engine::MariaDb,
            form: Form::V3_3,
        },
        Self {
            engine: Engine::MariaDb,
            form: Form::V4_0,
        },
    ];
}

impl fmt::Display for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let engine = match self.engine {
            Engine::Sqlite => "SQLite",
            Engine::MariaDb => "MariaDB",
        };
        let form = match self.form {
            Form::V2_1 => "2.1",
            Form::V3_3 => "3.3",
            Form::V4_0 => "4.0",
        };
        write!(f, "{engine}, schema {form}")
    }
}

/// Runs one test on every backend and says which one it failed on.
///
/// # Errors
/// The first failure, with the backend's name.
pub fn each(test: impl Fn(Backend) -> Result<()>) -> Result<()> {
    for backend in Backend::ALL {
        test(backend).with_context(|| format!("on {backend}"))?;
    }
    Ok(())
}

/// The database of one site.
#[derive(Debug)]
pub enum Database {
    /// A file.
    Sqlite {
        /// Its path.
        path: std::path::PathBuf,
    },
    /// A database of its own on a server.
    MariaDb {
        /// The server; its own for a site that stops it, shared otherwise.
        server: Server,
        /// The database's name.
        name: String,
    },
}

impl Database {
    /// Makes an empty database for a site in `directory`: a file there, or one on the shared server or one of its own.
    ///
    /// # Errors
    /// When the server cannot be started or the file not be made.
    pub fn create(engine: Engine, directory: &Path, own_server: bool) -> Result<Self> {
        Self::create_on(engine, directory, own_server.then_some(&[]))
    }

    /// The same, on a server of its own with these options where there are some.
    ///
    /// # Errors
    /// As [`Database::create`].
    pub fn create_on(engine: Engine, directory: &Path, own_server: Option<&[String]>) -> Result<Self> {
        match engine {
            Engine::Sqlite => Ok(Self::Sqlite {
                path: directory.join("directory.sqlite"),
            }),
            Engine::MariaDb => {
                let server = match own_server {
                    Some(options) => Server::private_with(&directory.join("mariadb"), options)?,
                    None => Server::shared()?,
                };
                let mut random = [0; 8];
                getrandom::fill(&mut random).context("random bytes")?;
                let name = format!("t{:016x}", u64::from_le_bytes(random));
                server.execute("", &format!("CREATE DATABASE {name} CHARACTER SET utf8mb4"))?;
                Ok(Self::MariaDb { server, name })
            }
        }
    }

    /// Makes the tables of a schema form.
    ///
    /// # Errors
    /// When a statement fails.
    pub fn load(&self, backend: Backend) -> Result<()> {
        self.execute(schema::tables(backend))
            .with_context(|| format!("tables of {backend}"))
    }

    /// Executes statements, separated by semicolons.
    ///
    /// # Errors
    /// When one fails.
    pub fn execute(&self, sql: &str) -> Result<()> {
        match self {
            Self::Sqlite { path } => {
                let connection = rusqlite::Connection::open(path)?;
                connection.busy_timeout(crate::wait::LONG)?;
                connection
                    .execute_batch(sql)
                    .with_context(|| sql.chars().take(200).collect::<String>())
            }
            Self::MariaDb { server, name } => server.execute(name, sql),
        }
    }

    /// The rows of a query, the columns of each as text with `|` between them.
    ///
    /// # Errors
    /// When it fails.
    pub fn rows(&self, sql: &str) -> Result<Vec<String>> {
        match self {
            Self::Sqlite { path } => {
                let connection = rusqlite::Connection::open(path)?;
                connection.busy_timeout(crate::wait::LONG)?;
                let mut statement = connection.prepare(sql)?;
                let columns = statement.column_count();
                let rows = statement.query_map([], |row| {
                    let texts = (0..columns).map(|column| {
                        Ok(match row.get_ref(column)? {
                            ValueRef::Null => "NULL".to_owned(),
                            ValueRef::Integer(number) => number.to_string(),
                            ValueRef::Real(number) => number.to_string(),
                            ValueRef::Text(text) | ValueRef::Blob(text) => {
                                String::from_utf8_lossy(text).into_owned()
                            }
                        })
                    });
                    Ok(texts.collect::<rusqlite::Result<Vec<_>>>()?.join("|"))
                })?;
                Ok(rows.collect::<rusqlite::Result<_>>()?)
            }
            Self::MariaDb { server, name } => server.rows(name, sql),
        }
    }

    /// The server and the name of the database there.
    ///
    /// # Errors
    /// When the database is a file.
    pub fn on_server(&self) -> Result<(&Server, &str)> {
        match self {
            Self::Sqlite { .. } => anyhow::bail!("SQLite has no server"),
            Self::MariaDb { server, name } => Ok((server, name)),
        }
    }

    /// The server, for tests that stop it.
    ///
    /// # Errors
    /// When the database is a file.
    pub fn server(&mut self) -> Result<&mut Server> {
        match self {
            Self::Sqlite { .. } => anyhow::bail!("SQLite has no server"),
            Self::MariaDb { server, .. } => Ok(server),
        }
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        if let Self::MariaDb { server, name } = self
            && server.is_shared()
        {
            // What is left behind goes away with the server.
            let _ = server.execute("", &format!("DROP DATABASE {name}"));
        }
    }
}
