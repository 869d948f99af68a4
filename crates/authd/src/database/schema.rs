//! Which tables and columns are there. Columns are probed, versions are not believed: an upgraded site can be
//! in any state between PostfixAdmin 2.1 and 4.x (compat.md 1.1 to 1.3).

use std::collections::{BTreeMap, HashMap};

use super::{Database, DbError, Value};

/// The tables and columns without which a profile can answer nothing.
#[derive(Debug)]
pub struct Needed {
    /// What to say where they are not there: "these are not the tables of ...".
    pub of: &'static str,
    /// Each table with its columns.
    pub tables: &'static [(&'static str, &'static [&'static str])],
}

/// What a site calls its tables (PostfixAdmin's `database_prefix` and `database_tables`).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TableNames {
    /// In front of all names.
    pub prefix: String,
    /// Usual name and own name of those that are called otherwise, without the prefix.
    pub renamed: BTreeMap<String, String>,
}

impl TableNames {
    /// The own name of a table, by its usual one.
    pub fn of(&self, table: &str) -> String {
        let own = self.renamed.get(table).map_or(table, String::as_str);
        format!("{}{own}", self.prefix)
    }
}

/// The tables that are there, with their columns. Tables are asked for by their usual names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Schema {
    /// By own names in lower case.
    tables: HashMap<String, Table>,
    names: TableNames,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Table {
    columns: HashMap<String, Charset>,
}

/// What a text column can hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Charset {
    /// Everything.
    Unicode,
    /// The Basic Multilingual Plane (MySQL's `utf8`).
    Bmp,
    /// ISO 8859-1 (MySQL's `latin1`, without the few additions of cp1252).
    Latin1,
    /// ASCII.
    Ascii,
}

impl Charset {
    fn of(name: &str) -> Self {
        match name.to_ascii_lowercase().as_str() {
            "latin1" => Self::Latin1,
            "ascii" => Self::Ascii,
            "utf8" | "utf8mb3" | "ucs2" => Self::Bmp,
            _ => Self::Unicode,
        }
    }

    /// Whether a key can be in the column at all. What cannot is not there, and must not be asked for:
    /// MySQL answers with an error about collations (robustness.md S44).
    pub fn holds(self, key: &str) -> bool {
        let highest = match self {
            Self::Unicode => char::MAX,
            Self::Bmp => '\u{ffff}',
            Self::Latin1 => '\u{ff}',
            Self::Ascii => '\u{7f}',
        };
        key.chars().all(|c| c <= highest)
    }
}

impl Schema {
    /// Asks the database.
    pub async fn probe(
        database: &dyn Database,
        names: &TableNames,
        needed: &Needed,
    ) -> Result<Self, DbError> {
        let rows = database.select(database.dialect().columns(), Vec::new()).await?;
        let mut schema = Self {
            tables: HashMap::new(),
            names: names.clone(),
        };
        for row in rows {
            let [Value::Bytes(table), Value::Bytes(column), charset] = row.as_slice() else {
                return Err(DbError::Refused("the list of columns has an unknown form".into()));
            };
            let lower = |bytes: &[u8]| String::from_utf8_lossy(bytes).to_ascii_lowercase();
            let charset = match charset {
                Value::Bytes(name) => Charset::of(&lower(name)),
                Value::Null | Value::Int(_) => Charset::Unicode,
            };
            let table = schema.tables.entry(lower(table)).or_default();
            table.columns.insert(lower(column), charset);
        }
        schema.check(needed)?;
        Ok(schema)
    }

    fn check(&self, needed: &Needed) -> Result<(), DbError> {
        for (table, columns) in needed.tables {
            for column in *columns {
                if !self.has(table, column) {
                    return Err(DbError::Refused(format!(
                        "there is no column {}.{column}: these are not the tables of {}",
                        self.table(table),
                        needed.of
                    )));
                }
            }
        }
        Ok(())
    }

    /// What the site calls a table.
    pub fn table(&self, table: &str) -> String {
        self.names.of(table)
    }

    fn get(&self, table: &str) -> Option<&Table> {
        self.tables.get(&self.names.of(table).to_ascii_lowercase())
    }

    /// Whether a table has a column.
    pub fn has(&self, table: &str, column: &str) -> bool {
        self.get(table)
            .is_some_and(|table| table.columns.contains_key(column))
    }

    /// Whether a table is there.
    pub fn has_table(&self, table: &str) -> bool {
        self.get(table).is_some()
    }

    /// What a column can hold.
    pub fn charset(&self, table: &str, column: &str) -> Charset {
        let column = self.get(table).and_then(|table| table.columns.get(column));
        column.copied().unwrap_or(Charset::Unicode)
    }

    /// The form that it looks like, for the log and for the defaults of that form.
    pub fn form(&self) -> Form {
        if self.has("mailbox", "smtp_active") || self.has_table("mailbox_app_password") {
            Form::V4
        } else if self.has_table("alias_domain") {
            Form::V3
        } else {
            Form::V2
        }
    }
}

/// The three forms of compat.md 1.1 to 1.3.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// The seven tables of 2.0 and 2.1.
    V2,
    /// 2.3 to 3.3.
    V3,
    /// 4.0 and later.
    V4,
}

impl Form {
    /// The version that it is called by.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::V2 => "2.1",
            Self::V3 => "3.3",
            Self::V4 => "4.0",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_that_cannot_be_there() {
        assert!(Charset::Latin1.holds("jörg@d.test") && !Charset::Latin1.holds("иван@d.test"));
        assert!(Charset::Bmp.holds("иван@d.test") && !Charset::Bmp.holds("😀@d.test"));
        assert!(Charset::of("utf8mb4").holds("😀@d.test") && !Charset::Ascii.holds("jörg@d.test"));
    }
}
