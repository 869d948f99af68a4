//! Expanding the templates of mysql_table(5): which values a statement is bound to, and what becomes of its
//! results (compat.md 2.2).

use config::{Part, Piece, QueryTemplate, ResultFormat, SqlPiece};

use crate::database::Arg;

/// A statement with `?` for each of its parameters.
#[derive(Debug, Clone)]
pub struct Statement {
    sql: String,
    parameters: Vec<Vec<Piece>>,
}

impl Statement {
    /// Of a template.
    pub fn new(template: &QueryTemplate) -> Self {
        let (mut sql, mut parameters) = (String::new(), Vec::new());
        for piece in &template.pieces {
            match piece {
                SqlPiece::Sql(text) => sql.push_str(text),
                SqlPiece::Parameter(pieces) => {
                    sql.push('?');
                    parameters.push(pieces.clone());
                }
            }
        }
        Self { sql, parameters }
    }

    /// The text.
    pub fn sql(&self) -> &str {
        &self.sql
    }

    /// The values of a key; `None` where the key lacks a part: then the statement is not asked.
    pub fn values(&self, key: &str) -> Option<Vec<Arg>> {
        let value = |pieces: &Vec<Piece>| text(pieces, key, "").map(Arg::from);
        self.parameters.iter().map(value).collect()
    }
}

/// A result in its form; `None` where the form needs a part that is not there.
pub fn formatted(format: &ResultFormat, key: &str, result: &str) -> Option<String> {
    text(&format.pieces, key, result)
}

fn text(pieces: &[Piece], key: &str, result: &str) -> Option<String> {
    let mut text = String::new();
    for piece in pieces {
        text.push_str(match piece {
            Piece::Text(literal) => literal,
            Piece::Key(wanted) => part(key, *wanted)?,
            Piece::Result(wanted) => part(result, *wanted)?,
        });
    }
    Some(text)
}

/// A part of a key; `None` where it is missing or empty. The split is at the last `@`.
fn part(of: &str, part: Part) -> Option<&str> {
    let split = of.rsplit_once('@');
    let domain = split.map(|(_, domain)| domain);
    let found = match part {
        Part::Whole => of,
        Part::User => split.map_or(of, |(user, _)| user),
        Part::Domain => domain?,
        Part::Label(number) => {
            let domain = domain?;
            if domain.split('.').any(str::is_empty) {
                return None;
            }
            domain.rsplit('.').nth(usize::from(number).checked_sub(1)?)?
        }
    };
    (!found.is_empty()).then_some(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use config::SqlDialect;

    fn expanded(query: &str, key: &str) -> Option<(String, Vec<String>)> {
        let statement = Statement::new(&QueryTemplate::parse(query, SqlDialect::Mysql).unwrap());
        let values = statement.values(key)?.into_iter().map(|arg| match arg {
            Arg::Text(text) => text,
            other => panic!("{other:?}"),
        });
        Some((statement.sql().to_owned(), values.collect()))
    }

    #[test]
    fn parts_of_keys() {
        let cases = [
            ("'%s'", "u@d.test", Some("u@d.test")),
            ("'%u'", "a@b@d.test", Some("a@b")),
            ("'%u'", "name", Some("name")),
            ("'%u'", "@d.test", None),
            ("'%d'", "u@d.test", Some("d.test")),
            ("'%d'", "name", None),
            ("'%d'", "u@", None),
            ("'%1.%2'", "u@mail.d.test", Some("test.d")),
            ("'%3'", "u@mail.d.test", Some("mail")),
            ("'%4'", "u@mail.d.test", None),
            ("'%1'", "u@d..test", None),
            (
                "'%s'",
                "'; DROP TABLE x; --@d.test",
                Some("'; DROP TABLE x; --@d.test"),
            ),
            ("'100%% of %U'", "u@d.test", Some("100% of u")),
        ];
        for (query, key, value) in cases {
            let expected = value.map(|value| ("?".to_owned(), vec![value.to_owned()]));
            assert_eq!(expanded(query, key), expected, "{query} {key}");
        }
        let (sql, values) =
            expanded("a = '%s' OR b = CONCAT('%u', '@', t) AND c = '%d'", "u@d.test").unwrap();
        assert_eq!(sql, "a = ? OR b = CONCAT(?, '@', t) AND c = ?");
        assert_eq!(values, ["u@d.test", "u", "d.test"]);
        // A part that is missing anywhere suppresses the whole statement.
        assert_eq!(expanded("'%s' AND '%d'", "name"), None);
    }

    #[test]
    fn results_in_their_form() {
        let shown = |format, key, result| formatted(&ResultFormat::parse(format).unwrap(), key, result);
        assert_eq!(shown("%s", "k@d", "v"), Some("v".into()));
        assert_eq!(shown("smtp:[%s]:25", "k@d", "mx"), Some("smtp:[mx]:25".into()));
        assert_eq!(
            shown("%u+%U@%d", "k@d.test", "v@e.test"),
            Some("v+k@e.test".into())
        );
        assert_eq!(shown("%d", "k@d.test", "nodomain"), None);
        assert_eq!(shown("%2", "k@d.test", "x"), Some("d".into()));
        assert_eq!(shown("%D", "nodomain", "x"), None);
    }
}
