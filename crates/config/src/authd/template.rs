//! The template language of mysql_table(5): SQL with expansions of a key, and the form of its results.
//!
//! A value never becomes part of a statement. An expansion, or a quoted literal that holds some, becomes one
//! parameter: `'%u@%d'` is `?`, bound to the local part, `@` and the domain.

/// A part of a key (or of a result, in a `result_format`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// `%s`: all of it.
    Whole,
    /// `%u`: what precedes the last `@`; all of it where there is none.
    User,
    /// `%d`: what follows the last `@`.
    Domain,
    /// `%1` to `%9`: a label of the domain, counted from its end.
    Label(u8),
}

/// A piece of a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    /// As it is.
    Text(String),
    /// A part of the key.
    Key(Part),
    /// A part of the result; in a [`ResultFormat`] only.
    Result(Part),
}

/// A piece of a statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SqlPiece {
    /// SQL, without any placeholder.
    Sql(String),
    /// A parameter, bound to these pieces as one text.
    Parameter(Vec<Piece>),
}

/// The SQL that is spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SqlDialect {
    /// A backslash escapes in literals, `#` begins a comment.
    Mysql,
    /// Neither does; `[name]` is a quoted name.
    Sqlite,
}

/// What is wrong with a template, and what to write instead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TemplateError {
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub suggestion: String,
}

impl TemplateError {
    fn new(message: impl Into<String>, suggestion: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            suggestion: suggestion.into(),
        }
    }
}

/// A statement with expansions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueryTemplate {
    /// Its pieces in order.
    pub pieces: Vec<SqlPiece>,
}

impl QueryTemplate {
    /// Reads a statement.
    pub fn parse(text: &str, dialect: SqlDialect) -> Result<Self, TemplateError> {
        let mut reader = Reader {
            rest: text.trim(),
            dialect,
            sql: String::new(),
            pieces: Vec::new(),
        };
        reader.read()?;
        Ok(Self {
            pieces: reader.pieces,
        })
    }

    /// The parts of the key that it needs.
    pub fn parts(&self) -> impl Iterator<Item = Part> + '_ {
        let parameters = self.pieces.iter().filter_map(|piece| match piece {
            SqlPiece::Parameter(pieces) => Some(pieces),
            SqlPiece::Sql(_) => None,
        });
        parameters.flatten().filter_map(|piece| match piece {
            Piece::Key(part) | Piece::Result(part) => Some(*part),
            Piece::Text(_) => None,
        })
    }
}

/// The form of each result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResultFormat {
    /// Its pieces in order.
    pub pieces: Vec<Piece>,
}

impl ResultFormat {
    /// Reads a format: `%s`, `%u`, `%d` are of the result, `%S`, `%U`, `%D` and `%1` to `%9` of the key.
    pub fn parse(text: &str) -> Result<Self, TemplateError> {
        let mut pieces = Vec::new();
        let mut literal = String::new();
        let mut chars = text.chars();
        while let Some(c) = chars.next() {
            if c != '%' {
                literal.push(c);
                continue;
            }
            let letter = chars.next();
            match part(letter)? {
                None => literal.push('%'),
                Some(part) => {
                    if !literal.is_empty() {
                        pieces.push(Piece::Text(std::mem::take(&mut literal)));
                    }
                    pieces.push(match letter {
                        Some('s' | 'u' | 'd') => Piece::Result(part),
                        _ => Piece::Key(part),
                    });
                }
            }
        }
        if !literal.is_empty() {
            pieces.push(Piece::Text(literal));
        }
        Ok(Self { pieces })
    }
}

/// The part that a letter behind `%` stands for; `None` for `%%`.
fn part(letter: Option<char>) -> Result<Option<Part>, TemplateError> {
    let (message, suggestion) = match letter {
        Some('%') => return Ok(None),
        Some('s' | 'S') => return Ok(Some(Part::Whole)),
        Some('u' | 'U') => return Ok(Some(Part::User)),
        Some('d' | 'D') => return Ok(Some(Part::Domain)),
        Some(digit @ '1'..='9') => {
            let label = digit.to_digit(10).and_then(|label| u8::try_from(label).ok());
            return Ok(label.map(Part::Label));
        }
        Some(letter @ ('n' | 'L')) => (
            format!("%{letter} is an expansion of Dovecot"),
            "write %u for the part before the @, %d for the domain, %s for all",
        ),
        Some('r') => (
            "%r is an expansion of Cyrus SASL".to_owned(),
            "write %d for the domain",
        ),
        Some(letter) if letter.is_ascii_alphanumeric() => (
            format!("%{letter} is no expansion"),
            "there are %s %u %d %1 to %9; a percent sign is %%",
        ),
        _ => (
            "a percent sign stands alone".to_owned(),
            "write %% for a percent sign",
        ),
    };
    Err(TemplateError::new(message, suggestion))
}

/// Goes through a statement once.
struct Reader<'t> {
    rest: &'t str,
    dialect: SqlDialect,
    sql: String,
    pieces: Vec<SqlPiece>,
}

impl Reader<'_> {
    fn next(&mut self) -> Option<char> {
        let c = self.rest.chars().next()?;
        self.rest = &self.rest[c.len_utf8()..];
        Some(c)
    }

    fn read(&mut self) -> Result<(), TemplateError> {
        let mysql = self.dialect == SqlDialect::Mysql;
        while let Some(c) = self.next() {
            match c {
                '\'' | '"' => self.literal(c)?,
                '`' => self.name('`')?,
                '[' if !mysql => self.name(']')?,
                '#' if mysql => self.comment("\n", true)?,
                '-' if self.rest.starts_with('-') => self.comment("\n", true)?,
                '/' if self.rest.starts_with(['*']) => {
                    self.rest = &self.rest[1..];
                    if self.rest.starts_with(['!', '+']) {
                        return Err(TemplateError::new(
                            "a comment with a meaning for the server",
                            "take it out",
                        ));
                    }
                    self.comment("*/", false)?;
                }
                '?' => {
                    return Err(TemplateError::new(
                        "a question mark stands for a value to come",
                        "write %s where the key belongs",
                    ));
                }
                ';' if self.rest.trim().is_empty() => break,
                ';' => {
                    return Err(TemplateError::new(
                        "there are several statements",
                        "write one; a procedure can hold more",
                    ));
                }
                '%' => match self.expansion()? {
                    None => self.sql.push('%'),
                    Some(part) => self.parameter(vec![Piece::Key(part)]),
                },
                other => self.sql.push(other),
            }
        }
        if !self.sql.trim().is_empty() {
            self.pieces.push(SqlPiece::Sql(std::mem::take(&mut self.sql)));
        }
        match self.pieces.is_empty() {
            true => Err(TemplateError::new("there is no statement", "write SELECT ...")),
            false => Ok(()),
        }
    }

    fn expansion(&mut self) -> Result<Option<Part>, TemplateError> {
        let letter = self.next();
        part(letter)
    }

    fn parameter(&mut self, pieces: Vec<Piece>) {
        if !self.sql.is_empty() {
            self.pieces.push(SqlPiece::Sql(std::mem::take(&mut self.sql)));
        }
        self.pieces.push(SqlPiece::Parameter(pieces));
    }

    /// The rest of a literal. With expansions it becomes a parameter, without it stays as it is written.
    fn literal(&mut self, quote: char) -> Result<(), TemplateError> {
        let unfinished = || TemplateError::new(format!("the {quote} is not closed"), "close it");
        let (mut written, mut text, mut pieces) = (String::from(quote), String::new(), Vec::new());
        loop {
            let c = self.next().ok_or_else(unfinished)?;
            match c {
                '%' => match self.expansion()? {
                    None => {
                        written.push('%');
                        text.push('%');
                    }
                    Some(part) => {
                        if !text.is_empty() {
                            pieces.push(Piece::Text(std::mem::take(&mut text)));
                        }
                        pieces.push(Piece::Key(part));
                    }
                },
                '\\' if self.dialect == SqlDialect::Mysql && !self.rest.starts_with('%') => {
                    let escaped = self.next().ok_or_else(unfinished)?;
                    written.extend(['\\', escaped]);
                    text.push_str(&unescaped(escaped));
                }
                _ if c == quote && self.rest.starts_with(quote) => {
                    self.next();
                    written.extend([quote, quote]);
                    text.push(quote);
                }
                _ if c == quote => break,
                other => {
                    written.push(other);
                    text.push(other);
                }
            }
        }
        if pieces.is_empty() {
            written.push(quote);
            self.sql.push_str(&written);
            return Ok(());
        }
        if !text.is_empty() {
            pieces.push(Piece::Text(text));
        }
        let word: String = self
            .sql
            .chars()
            .rev()
            .take_while(|c| c.is_ascii_alphanumeric() || *c == '_')
            .collect();
        if word.ends_with('_') || ["n", "N", "x", "X", "b", "B"].contains(&word.as_str()) {
            return Err(TemplateError::new(
                "a literal with a character set in front holds an expansion",
                "take away what stands before the quote",
            ));
        }
        self.parameter(pieces);
        Ok(())
    }

    /// The rest of a quoted name.
    fn name(&mut self, end: char) -> Result<(), TemplateError> {
        self.sql.push(if end == ']' { '[' } else { end });
        loop {
            match self.next() {
                None => {
                    return Err(TemplateError::new(
                        format!("the closing {end} is missing"),
                        "close it",
                    ));
                }
                Some('%') => {
                    if self.expansion()?.is_some() {
                        return Err(TemplateError::new(
                            "an expansion cannot name a table or column",
                            "write '%s' for a value",
                        ));
                    }
                    self.sql.push('%');
                }
                Some(c) => {
                    self.sql.push(c);
                    if c == end {
                        return Ok(());
                    }
                }
            }
        }
    }

    /// Leaves out a comment.
    fn comment(&mut self, end: &str, may_be_last: bool) -> Result<(), TemplateError> {
        self.sql.push(' ');
        match self.rest.find(end) {
            Some(at) => self.rest = &self.rest[at + end.len()..],
            None if may_be_last => self.rest = "",
            None => return Err(TemplateError::new("a comment is not closed", "close it with */")),
        }
        Ok(())
    }
}

/// What a backslash and a character mean in a literal of MySQL.
fn unescaped(c: char) -> String {
    match c {
        '0' => "\0".to_owned(),
        'b' => "\u{8}".to_owned(),
        'n' => "\n".to_owned(),
        'r' => "\r".to_owned(),
        't' => "\t".to_owned(),
        'Z' => "\u{1a}".to_owned(),
        // LIKE takes the backslash away.
        '_' => "\\_".to_owned(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The statement with `?`, and each parameter in a notation of its own.
    fn parsed(text: &str, dialect: SqlDialect) -> Result<(String, Vec<String>), String> {
        let template = QueryTemplate::parse(text, dialect).map_err(|e| e.message)?;
        let (mut sql, mut parameters) = (String::new(), Vec::new());
        for piece in template.pieces {
            match piece {
                SqlPiece::Sql(text) => sql.push_str(&text),
                SqlPiece::Parameter(pieces) => {
                    sql.push('?');
                    parameters.push(pieces.iter().map(shown).collect());
                }
            }
        }
        Ok((sql, parameters))
    }

    fn shown(piece: &Piece) -> String {
        match piece {
            Piece::Text(text) => text.clone(),
            Piece::Key(part) => format!("<{part:?}>"),
            Piece::Result(part) => format!("<result {part:?}>"),
        }
    }

    fn mysql(text: &str) -> (String, Vec<String>) {
        parsed(text, SqlDialect::Mysql).unwrap()
    }

    #[test]
    fn expansions_become_parameters() {
        let cases = [
            (
                "SELECT goto FROM alias WHERE address='%s'",
                "SELECT goto FROM alias WHERE address=?",
                "<Whole>",
            ),
            (
                "SELECT '%u@%d' LIKE '%%%d%%'",
                "SELECT ? LIKE ?",
                "<User>@<Domain>|%<Domain>%",
            ),
            ("CONCAT('%u', '@', t)", "CONCAT(?, '@', t)", "<User>"),
            (
                "a LIKE 'smtp%%' AND b = %S",
                "a LIKE 'smtp%' AND b = ?",
                "<Whole>",
            ),
            ("x = \"%1.%2\"", "x = ?", "<Label(1)>.<Label(2)>"),
            (
                "x = 'it''s %U' AND y = 'it''s'",
                "x = ? AND y = 'it''s'",
                "it's <User>",
            ),
            (r"x = 'a\'%u\\' AND y = '\''", r"x = ? AND y = '\''", r"a'<User>\"),
            (r"x LIKE '%s\%%'", "x LIKE ?", r"<Whole>\%"),
            (
                "SELECT 1 -- it's %x\n WHERE k = %d # done?",
                "SELECT 1   WHERE k = ?",
                "<Domain>",
            ),
            ("SELECT /* ' */ `a%%b`, '?' ;", "SELECT   `a%b`, '?' ", ""),
            ("REPLACE(t,'virtual',':')", "REPLACE(t,'virtual',':')", ""),
        ];
        for (text, sql, parameters) in cases {
            assert_eq!(
                mysql(text),
                (
                    sql.to_owned(),
                    parameters
                        .split('|')
                        .filter(|p| !p.is_empty())
                        .map(str::to_owned)
                        .collect()
                ),
                "{text}"
            );
        }
    }

    #[test]
    fn sqlite_has_no_backslashes() {
        let (sql, parameters) = parsed(r"x = 'a\' AND [y] = '%s'", SqlDialect::Sqlite).unwrap();
        assert_eq!(
            (sql.as_str(), parameters),
            (r"x = 'a\' AND [y] = ?", vec!["<Whole>".to_owned()])
        );
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        let cases = [
            ("x = '%n'", "Dovecot"),
            ("x = '%u@%r'", "Cyrus"),
            ("x LIKE 'smtp%'", "percent sign"),
            ("x = '%x'", "%x is no expansion"),
            ("x = 50%", "percent sign"),
            ("SELECT `%s`", "cannot name"),
            ("x = ?", "question mark"),
            ("SELECT 1; DROP TABLE x", "several statements"),
            ("x = 'open", "not closed"),
            ("x = _latin1'%s'", "character set"),
            ("/*! SELECT */ 1", "comment"),
            ("  -- nothing", "no statement"),
        ];
        for (text, word) in cases {
            let error = parsed(text, SqlDialect::Mysql).unwrap_err();
            assert!(error.contains(word), "{text}: {error}");
        }
    }

    #[test]
    fn result_formats() {
        let format = ResultFormat::parse("%u of %D, 100%%").unwrap();
        let text: String = format.pieces.iter().map(shown).collect();
        assert_eq!(text, "<result User> of <Domain>, 100%");
        assert!(ResultFormat::parse("%x").is_err());
    }
}
