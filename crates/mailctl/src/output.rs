//! Results on standard output: tables that fit the terminal, or JSON.

use std::io::{IsTerminal, Write};
use std::iter::repeat;

use auth_api::client::Rows;
use comfy_table::{ColumnConstraint, ContentArrangement, Table, Width, presets};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use crate::error::Failure;

/// Columns where standard output is no terminal and `COLUMNS` is not set.
const WIDTH: u16 = 200;
/// Rows of a list that are printed at once.
const BLOCK: usize = 500;

/// How results are shown.
pub(crate) struct Output {
    /// JSON was asked for.
    pub(crate) json: bool,
    colors: bool,
}

impl Output {
    /// Colours only on a terminal, and not where `NO_COLOR` is set.
    pub(crate) fn new(json: bool) -> Self {
        let colors = std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
        Self { json, colors }
    }

    /// Prints rows: as a JSON array, or as a table with a line for `none` where there are none.
    pub(crate) fn rows<T: Serialize>(
        &self,
        rows: &[T],
        header: &[&str],
        none: &str,
        cells: impl Fn(&T) -> Vec<String>,
    ) {
        if self.json {
            self.value(&rows);
        } else if rows.is_empty() {
            self.line(none);
        } else {
            let mut table = table(header);
            table.add_rows(rows.iter().map(cells));
            self.line(&table.trim_fmt());
        }
    }

    /// Prints a list as it arrives: as a JSON array that is written piece by piece, or as a table. The columns
    /// are as wide as the first rows need. Ends early where nobody reads any more (`| head`).
    pub(crate) async fn list<R: Send + 'static, T: Serialize>(
        &self,
        mut rows: Rows<R>,
        read: impl Fn(R) -> Option<T>,
        header: &[&str],
        none: &str,
        cells: impl Fn(&T) -> Vec<String>,
    ) -> Result<(), Failure> {
        let mut listing = Listing::new(self.json, header, none);
        loop {
            let mut block = Vec::new();
            let mut more = false;
            while !more && let Some(row) = rows.next().await? {
                block.extend(read(row));
                more = block.len() >= BLOCK;
            }
            let text = listing.block(&block, more, &cells)?;
            let printed = std::io::stdout().lock().write_all(text.as_bytes());
            if printed.is_err() || !more {
                return Ok(());
            }
        }
    }

    /// Prints one thing: as a JSON object, or as a line per field.
    pub(crate) fn fields<T: Serialize>(&self, value: &T, fields: &[(&str, String)]) {
        if self.json {
            self.value(value);
            return;
        }
        let width = fields.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
        // On a terminal what is longer than a line goes on below itself; a program gets a line for each field.
        let (indent, terminal) = (" ".repeat(width + 2), std::io::stdout().is_terminal());
        for (name, value) in fields {
            let lines = match terminal {
                true => wrapped(&indent, value),
                false => vec![format!("{indent}{value}")],
            };
            for (number, line) in lines.iter().enumerate() {
                match (number, line.strip_prefix(&indent)) {
                    (0, Some(first)) => self.line(format!("{name:width$}  {first}").trim_end()),
                    _ => self.line(line),
                }
            }
        }
    }

    /// Says that something was done; in JSON the thing itself.
    pub(crate) fn done<T: Serialize>(&self, value: &T, text: &str) {
        if self.json {
            self.value(value);
        } else {
            self.line(text);
        }
    }

    /// Prints JSON.
    pub(crate) fn value<T: Serialize>(&self, value: &T) {
        match serde_json::to_string_pretty(value) {
            Ok(text) => self.line(&text),
            Err(error) => eprintln!("mailctl: this cannot be shown as JSON: {error}"),
        }
    }

    /// Prints a line. Whoever reads may have enough (`| head`): that is no error.
    pub(crate) fn line(&self, text: &str) {
        let _ = writeln!(std::io::stdout().lock(), "{text}");
    }

    /// The text dimmed, on a terminal.
    pub(crate) fn dim(&self, text: &str) -> String {
        self.paint("2", text)
    }

    /// The text bold, on a terminal.
    pub(crate) fn bold(&self, text: &str) -> String {
        self.paint("1", text)
    }

    /// The text in red, on a terminal.
    pub(crate) fn red(&self, text: &str) -> String {
        self.paint("31", text)
    }

    fn paint(&self, code: &str, text: &str) -> String {
        if self.colors {
            format!("\x1b[{code}m{text}\x1b[0m")
        } else {
            text.to_owned()
        }
    }
}

/// A list that is printed in blocks.
struct Listing<'a> {
    json: bool,
    header: &'a [&'a str],
    none: &'a str,
    /// How wide the columns of the first block were.
    widths: Vec<u16>,
    /// How many rows were printed.
    rows: usize,
}

impl<'a> Listing<'a> {
    fn new(json: bool, header: &'a [&'a str], none: &'a str) -> Self {
        Self {
            json,
            header,
            none,
            widths: Vec::new(),
            rows: 0,
        }
    }

    /// The text of the next rows; `more` may follow.
    fn block<T: Serialize>(
        &mut self,
        rows: &[T],
        more: bool,
        cells: impl Fn(&T) -> Vec<String>,
    ) -> Result<String, Failure> {
        let first = self.rows == 0;
        self.rows += rows.len();
        Ok(match (self.json, rows.is_empty()) {
            (true, _) => self.json(rows, first, more)?,
            (false, true) if first => format!("{}\n", self.none),
            (false, true) => String::new(),
            (false, false) => self.table(rows.iter().map(cells), first) + "\n",
        })
    }

    fn table(&mut self, rows: impl Iterator<Item = Vec<String>>, first: bool) -> String {
        let mut table = if first { table(self.header) } else { Table::new() };
        table.add_rows(rows);
        if first {
            // Each column has its padding.
            let widths = table
                .column_max_content_widths()
                .into_iter()
                .zip([1].into_iter().chain(repeat(2)));
            self.widths = widths.map(|(width, padding)| width + padding).collect();
            return table.trim_fmt();
        }
        arrange(&mut table);
        // As wide as the block before, where that fits.
        let all: u32 = self.widths.iter().copied().map(u32::from).sum();
        if all <= u32::from(width()) {
            let needed = table.column_max_content_widths();
            for ((column, width), needed) in table.column_iter_mut().zip(&self.widths).zip(needed) {
                if needed < *width {
                    column.set_constraint(ColumnConstraint::Absolute(Width::Fixed(*width)));
                }
            }
        }
        table.trim_fmt()
    }

    fn json<T: Serialize>(&self, rows: &[T], first: bool, more: bool) -> Result<String, Failure> {
        let mut text = String::new();
        for (index, row) in rows.iter().enumerate() {
            text.push_str(if first && index == 0 { "[\n  " } else { ",\n  " });
            let row = serde_json::to_string_pretty(row)
                .map_err(|error| Failure::internal(format!("this cannot be shown as JSON: {error}")))?;
            text.push_str(&row.replace('\n', "\n  "));
        }
        match (more, self.rows) {
            (true, _) => {}
            (false, 0) => text.push_str("[]\n"),
            (false, _) => text.push_str("\n]\n"),
        }
        Ok(text)
    }
}

fn table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.set_header(header.iter().copied());
    arrange(&mut table);
    table
}

/// Fits a table, which has its columns, to the terminal.
fn arrange(table: &mut Table) {
    table
        .load_style(presets::NOTHING)
        .set_content_arrangement(ContentArrangement::Dynamic)
        .set_width(width());
    // The preset pads each cell on both sides; a list begins at the first column.
    if let Some(first) = table.column_mut(0) {
        first.set_padding((0, 1));
        // It is what one copies: never broken.
        first.set_constraint(ColumnConstraint::ContentWidth);
    }
}

/// Columns of the terminal.
fn width() -> u16 {
    let of_terminal = || {
        rustix::termios::tcgetwinsize(std::io::stdout())
            .ok()
            .map(|size| size.ws_col)
    };
    let of_environment = || std::env::var("COLUMNS").ok()?.parse().ok();
    of_terminal()
        .filter(|columns| *columns > 0)
        .or_else(of_environment)
        .unwrap_or(WIDTH)
        .max(40)
}

/// What a peer wrote, fit for a terminal: control characters escaped.
pub(crate) fn clean(text: &str) -> String {
    let escape = |c: char| {
        c.is_control()
            || matches!(c, '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    if !text.contains(escape) {
        return text.to_owned();
    }
    text.chars()
        .map(|c| {
            if escape(c) {
                c.escape_default().to_string()
            } else {
                c.to_string()
            }
        })
        .collect()
}

/// `2026-11-21 06:47:04` in local time.
pub(crate) fn local_time(unix_millis: u64) -> String {
    let time = i64::try_from(unix_millis)
        .ok()
        .and_then(|millis| Timestamp::from_millisecond(millis).ok());
    time.map_or_else(String::new, |time| {
        time.to_zoned(TimeZone::system())
            .strftime("%Y-%m-%d %H:%M:%S")
            .to_string()
    })
}

/// `3 min`, `2 h`, `5 d`: the two largest units would say no more to a reader.
pub(crate) fn rough_duration(duration: std::time::Duration) -> String {
    let seconds = SignedDuration::try_from(duration).map_or(i64::MAX, |duration| duration.as_secs());
    match seconds {
        0..=99 => format!("{seconds} s"),
        100..=5_999 => format!("{} min", (seconds + 30) / 60),
        6_000..=172_799 => format!("{} h", (seconds + 1_800) / 3_600),
        _ => format!("{} d", (seconds + 43_200) / 86_400),
    }
}

/// Bytes in a unit that is easy to read.
pub(crate) fn size(bytes: u64) -> String {
    match bytes {
        0..=9_999 => format!("{bytes} B"),
        10_000..=10_239_999 => format!("{} KiB", (bytes + 512) >> 10),
        10_240_000..=10_737_418_239 => format!("{} MiB", (bytes + (1 << 19)) >> 20),
        _ => format!("{} GiB", (bytes + (1 << 29)) >> 30),
    }
}

/// `1 message`, `2 messages`.
pub(crate) fn count(number: usize, what: &str) -> String {
    match (number, what.strip_suffix('x')) {
        (1, _) => format!("1 {what}"),
        (_, Some(stem)) => format!("{number} {stem}xes"),
        (_, None) if what.ends_with('s') => format!("{number} {what}es"),
        (_, None) => format!("{number} {what}s"),
    }
}

/// `text` in lines of at most the terminal's width, each behind `indent`.
pub(crate) fn wrapped(indent: &str, text: &str) -> Vec<String> {
    wrap(indent, text, usize::from(width()))
}

/// The same with something behind the last line, which `dim` makes paler; on a line of its own where it does not fit.
pub(crate) fn wrapped_with(indent: &str, text: &str, end: &str, dim: impl Fn(&str) -> String) -> Vec<String> {
    let mut lines = wrapped(indent, text);
    match lines.last_mut() {
        Some(last) if last.chars().count() + 2 + end.chars().count() <= usize::from(width()) => {
            *last = format!("{last}  {}", dim(end));
        }
        _ => lines.push(format!("{indent}  {}", dim(end))),
    }
    lines
}

/// Breaks at blanks; a list without blanks that is longer than a line after its commas.
fn wrap(indent: &str, text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    let room = width.saturating_sub(indent.chars().count() + 2);
    for word in text.split(' ') {
        let pieces: Vec<&str> = match word.chars().count() > room {
            true => word.split_inclusive(',').collect(),
            false => vec![word],
        };
        for (number, piece) in pieces.into_iter().enumerate() {
            let glue = if number == 0 { " " } else { "" };
            match lines.last_mut() {
                Some(line) if line.chars().count() + glue.len() + piece.chars().count() <= width => {
                    line.push_str(glue);
                    line.push_str(piece);
                }
                _ => {
                    let more = if lines.is_empty() { "" } else { "  " };
                    lines.push(format!("{indent}{more}{piece}"));
                }
            }
        }
    }
    lines
}

/// `yes` or `no`.
pub(crate) fn yes_no(value: bool) -> String {
    if value { "yes" } else { "no" }.to_owned()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn what_a_peer_wrote_does_nothing_to_the_terminal() {
        assert_eq!(clean("a\x1b[31m\nb\u{202e}"), "a\\u{1b}[31m\\nb\\u{202e}");
        assert_eq!(clean("grün"), "grün");
    }

    #[test]
    fn rough_units() {
        assert_eq!(rough_duration(Duration::from_secs(59)), "59 s");
        assert_eq!(rough_duration(Duration::from_secs(300)), "5 min");
        assert_eq!(rough_duration(Duration::from_secs(14_400)), "4 h");
        assert_eq!(rough_duration(Duration::from_secs(432_000)), "5 d");
        assert_eq!(size(512), "512 B");
        assert_eq!(size(20_480), "20 KiB");
        assert_eq!(size(50 << 20), "50 MiB");
    }

    #[test]
    fn counts_and_lines() {
        assert_eq!(count(1, "mailbox"), "1 mailbox");
        assert_eq!(count(2, "mailbox"), "2 mailboxes");
        assert_eq!(count(0, "alias"), "0 aliases");
        assert_eq!(count(3, "message"), "3 messages");
        assert_eq!(wrap("> ", "one two three", 10), ["> one two", ">   three"]);
        assert_eq!(
            wrap("> ", "to a@x,b@x,c@x,d@x", 10),
            ["> to a@x,", ">   b@x,", ">   c@x,", ">   d@x"]
        );
    }

    #[test]
    fn a_list_in_blocks_looks_like_one() {
        let cells = |row: &&str| vec![(*row).to_owned(), "x".to_owned()];
        let mut text = Listing::new(false, &["ADDRESS", "B"], "none");
        let first = text.block(&["aa", "bbbbbbbbbb"], true, cells).unwrap();
        assert_eq!(first, "ADDRESS     B\naa          x\nbbbbbbbbbb  x\n");
        let second = text.block(&["c"], true, cells).unwrap();
        assert_eq!(second, "c           x\n");
        assert_eq!(text.block::<&str>(&[], false, cells).unwrap(), "");

        let mut json = Listing::new(true, &[], "none");
        let mut whole = json.block(&["a", "b"], true, cells).unwrap();
        whole += &json.block(&["c"], false, cells).unwrap();
        let expected = serde_json::to_string_pretty(&["a", "b", "c"]).unwrap();
        assert_eq!(whole, format!("{expected}\n"));
        let none = |json| Listing::new(json, &["A"], "none").block::<&str>(&[], false, cells);
        assert_eq!(
            (none(true).unwrap(), none(false).unwrap()),
            ("[]\n".into(), "none\n".into())
        );
    }

    #[test]
    fn tables_fit_a_narrow_terminal() {
        let mut table = table(&["a", "b"]);
        table.set_width(40);
        table.add_row(["i".repeat(20), "word ".repeat(20)]);
        assert!(
            table.trim_fmt().lines().all(|line| line.chars().count() <= 40),
            "{table}"
        );
    }
}
