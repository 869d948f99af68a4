//! Automatic replies (compat.md 5.6): the row of `vacation`, and the target in the alias of the mailbox.

use auth_api::admin::{AdminError, Page, VacationRecord, Which};
use jiff::civil::{Date, DateTime};
use mail_types::Address;

use super::aliases::{List, read_goto, replace_goto};
use super::mailboxes;
use super::pages::Source;
use super::sql::{Change, Set, Tables};
use crate::database::Value;
use crate::database::values::{flag, number, text, text_or_empty};

/// The panel's end of a reply that has none.
const FOR_EVER: &str = "2038-01-18 00:00:00";

const VACATIONS: Source<'_> = Source {
    table: "vacation",
    key: "email",
    domain: "domain",
};

/// By address.
pub async fn list(
    tables: &Tables<'_>,
    which: &Which,
    after: Option<&str>,
) -> Result<Page<VacationRecord>, AdminError> {
    let time = |column: &str| match tables.schema.has("vacation", column) {
        true => format!("CAST(`{column}` AS CHAR)"),
        false => "''".to_owned(),
    };
    let columns = format!(
        "`subject`, `body`, {}, {}, {}, `active`",
        time("activefrom"),
        time("activeuntil"),
        tables.column("vacation", "interval_time", "0"),
    );
    let raw = tables.page(&VACATIONS, &columns, which, after).await?;
    // The reply is on where mail gets to it.
    let is_on = |row: &[Value]| {
        let key = text(row.first())?.to_lowercase();
        let goto = text_or_empty(row.get(1)?)?;
        List::of(&goto, &key).vacation.is_some().then_some(())
    };
    let on = tables
        .of_keys("alias", "address", "`goto`", &raw.keys(), is_on)
        .await?;
    Ok(raw.read("vacation", |row| {
        let address = Address::parse(&text(row.first())?).ok()?;
        Some(VacationRecord {
            active: flag(&row[6])? && on.contains_key(&address.lookup_key()),
            address,
            subject: text_or_empty(&row[1])?,
            body: text_or_empty(&row[2])?,
            active_from: text_or_empty(&row[3])?,
            active_until: text_or_empty(&row[4])?,
            interval_time: number(&row[5])?,
        })
    }))
}

pub async fn set(tables: &Tables<'_>, record: &VacationRecord) -> Result<Change, AdminError> {
    tables.check_table("vacation")?;
    let Some(vacation_domain) = &tables.rules.vacation_domain else {
        return Err(AdminError::Invalid(
            "automatic replies are off; set [authd] vacation_domain, as PostfixAdmin has it".into(),
        ));
    };
    let key = mailboxes::check_exists(tables, &record.address).await?;
    let (from, until) = check(tables, record)?;
    let mut statements = vec![tables.hold("mailbox", "username", &key)];
    statements.extend(tables.delete("vacation_notification", "on_vacation", &key));
    let mut row = vec![
        ("subject", record.subject.as_str().into()),
        ("body", record.body.as_str().into()),
        ("activefrom", from.map_or(Set::Now, Set::from)),
        ("activeuntil", until.unwrap_or_else(|| FOR_EVER.to_owned()).into()),
        ("interval_time", record.interval_time.into()),
        ("modified", Set::Now),
        ("active", true.into()),
    ];
    let domain = record.address.domain().as_str();
    if tables.exists("vacation", "email", &key).await? {
        statements.push(tables.update("vacation", row, "email", &key).one());
    } else {
        row.extend([
            ("email", key.as_str().into()),
            ("domain", domain.into()),
            ("cache", "".into()),
            ("created", Set::Now),
        ]);
        statements.push(tables.insert("vacation", row));
    }
    let target = format!("{}@{vacation_domain}", key.replace('@', "#"));
    tables.check_text("alias", "goto", &target)?;
    match read_goto(tables, &key).await? {
        Some(old) => {
            let goto = with_vacation(&old, &key, Some(&target));
            let row = vec![("modified", Set::Now), ("goto", goto.into())];
            statements.push(replace_goto(tables, &key, &old, row));
        }
        None => {
            let row = vec![
                ("address", key.as_str().into()),
                ("goto", format!("{key},{target}").into()),
                ("domain", domain.into()),
                ("created", Set::Now),
                ("modified", Set::Now),
                ("active", true.into()),
            ];
            statements.push(tables.insert("alias", row));
        }
    }
    Ok(Change::new(
        "vacation",
        "set",
        "edit_vacation",
        domain,
        key,
        statements,
    ))
}

/// The list with this target for the automatic reply, or none. Where nothing else was left, the mailbox.
fn with_vacation(goto: &str, key: &str, target: Option<&str>) -> String {
    let list = List::of(goto, key);
    let mut targets = list.targets;
    if targets.is_empty() {
        targets.push(key);
    }
    targets.extend(target);
    targets.join(",")
}

/// Turns the reply off. As in the panel the row stays for the next time, and whoever was answered is
/// forgotten.
pub async fn clear(tables: &Tables<'_>, address: &Address) -> Result<Change, AdminError> {
    tables.check_table("vacation")?;
    let key = mailboxes::check_exists(tables, address).await?;
    let old = read_goto(tables, &key).await?;
    let is_on = old
        .as_deref()
        .is_some_and(|goto| List::of(goto, &key).vacation.is_some());
    if !is_on && !tables.exists("vacation", "email", &key).await? {
        return Err(AdminError::NotFound(format!("{key} has no automatic reply")));
    }
    let mut statements = vec![tables.hold("mailbox", "username", &key)];
    if let (Some(old), true) = (&old, is_on) {
        let goto = with_vacation(old, &key, None);
        let row = vec![("modified", Set::Now), ("goto", goto.into())];
        statements.push(replace_goto(tables, &key, old, row));
    }
    statements.extend(tables.delete("vacation_notification", "on_vacation", &key));
    let row = vec![("modified", Set::Now), ("active", false.into())];
    statements.push(tables.update("vacation", row, "email", &key));
    let domain = address.domain().as_str();
    Ok(Change::new(
        "vacation",
        "delete",
        "edit_vacation",
        domain,
        key,
        statements,
    ))
}

/// Checks a reply and gives its times as the database has them.
fn check(
    tables: &Tables<'_>,
    record: &VacationRecord,
) -> Result<(Option<String>, Option<String>), AdminError> {
    tables.check_text("vacation", "subject", &record.subject)?;
    if !tables.schema.charset("vacation", "body").holds(&record.body) || record.body.len() > 65_535 {
        return Err(AdminError::Invalid(
            "the body does not fit the column vacation.body of this database".into(),
        ));
    }
    if record.subject.trim().is_empty() || record.body.trim().is_empty() {
        return Err(AdminError::Invalid("a reply needs a subject and a body".into()));
    }
    if record.interval_time != 0 {
        tables.check_column("vacation", "interval_time")?;
    }
    if !(0..=i64::from(i32::MAX)).contains(&record.interval_time) {
        return Err(AdminError::Invalid("the interval is no number of seconds".into()));
    }
    let from = time(tables, "activefrom", &record.active_from, "00:00:00")?;
    let until = time(tables, "activeuntil", &record.active_until, "23:59:59")?;
    if let (Some(from), Some(until)) = (&from, &until)
        && until <= from
    {
        return Err(AdminError::Invalid(format!("{until} is not after {from}")));
    }
    Ok((from, until))
}

/// `YYYY-MM-DD HH:MM:SS` of a date, with or without a time. The years are those of MySQL's TIMESTAMP.
fn time(
    tables: &Tables<'_>,
    column: &str,
    given: &str,
    otherwise: &str,
) -> Result<Option<String>, AdminError> {
    if given.is_empty() {
        return Ok(None);
    }
    tables.check_column("vacation", column)?;
    let whole = match given.parse::<Date>() {
        Ok(_) if given.len() == 10 => format!("{given} {otherwise}"),
        _ => given.to_owned(),
    };
    let read: Result<DateTime, _> = whole.parse();
    match read {
        Ok(time) if (1971..=2037).contains(&time.year()) => {
            Ok(Some(time.strftime("%Y-%m-%d %H:%M:%S").to_string()))
        }
        _ => Err(AdminError::Invalid(format!(
            "{given} is no time between 1971 and 2037; write 2026-12-24 or 2026-12-24 18:00:00"
        ))),
    }
}
