//! One row by the names that the site's statement gives its columns.

use crate::database::values::{flag, number, text, text_or_empty, time};
use crate::database::{Rows, Value};
use crate::directory::backend::{UsageRow, VacationRow};

/// A row; names are lower case.
#[derive(Debug)]
pub struct Named(Vec<(String, Value)>);

impl Named {
    /// The one row of `key`; an error in words where there are several. Where the answer names its user, the
    /// rows of others are not there: the database may think that names are equal which are not.
    pub fn one(rows: Rows, key: &str) -> Result<Option<Self>, &'static str> {
        let names: Vec<String> = rows
            .columns
            .unwrap_or_default()
            .iter()
            .map(|name| name.to_ascii_lowercase())
            .collect();
        let mut found = None;
        for row in rows.rows {
            let row = Self(names.iter().cloned().zip(row).collect());
            let user = row.first(&["username", "user", "email"]);
            let other = user.and_then(|user| text(Some(user)));
            if other.is_some_and(|user| user.contains('@') && user.to_lowercase() != key) {
                continue;
            }
            if found.replace(row).is_some() {
                return Err("has several rows");
            }
        }
        Ok(found)
    }

    /// The first of these columns that the row has.
    pub fn first(&self, names: &[&str]) -> Option<&Value> {
        names
            .iter()
            .find_map(|name| self.0.iter().find(|(column, _)| column == name))
            .map(|(_, value)| value)
    }

    fn or_null(&self, name: &str) -> &Value {
        self.first(&[name]).unwrap_or(&Value::Null)
    }
}

/// The columns of an absence notice.
pub fn vacation(address: &str, row: &Named) -> Option<VacationRow> {
    Some(VacationRow {
        email: address.to_owned(),
        subject: text_or_empty(row.or_null("subject"))?,
        body: text_or_empty(row.or_null("body"))?,
        active_from: time(row.or_null("activefrom"))?,
        active_until: time(row.or_null("activeuntil"))?,
        interval_time: number(row.or_null("interval_time"))?,
        active: row.first(&["active"]).map_or(Some(true), flag)?,
    })
}

/// The columns of how full a mailbox is.
pub fn usage(row: &Named) -> Option<UsageRow> {
    Some(UsageRow {
        bytes: number(row.first(&["bytes"])?)?,
        messages: number(row.or_null("messages"))?,
    })
}
