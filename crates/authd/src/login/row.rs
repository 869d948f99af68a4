//! What a row of the tables holds for a login: the passwords that may be tried, and what stands in for a row
//! that does not exist, so that the time does not tell.

use aws_lc_rs::hmac;
use mail_types::Secret;
use sasl::password::{FormatError, Stored, Unmarked};

use super::revision::Means;
use crate::directory::backend::LoginRow;

/// Most passwords of programs that one login tries, the latest first: about what the time for a call is
/// enough for, and [`first_fit`] looks at the clock.
const APP_PASSWORDS: usize = 64;
/// Most shapes of stored passwords that decoys have.
const SHAPES: usize = 16;
/// What the earlier rows count for with each row that is seen: about the last hundred decide.
const FADES: f64 = 0.99;
/// A shape that counts for less is forgotten: no row of it was seen in some hundreds.
const FORGOTTEN: f64 = 0.5;

/// One stored password.
#[derive(Debug, Clone)]
pub struct Candidate {
    /// Whose.
    pub means: Means,
    /// As stored.
    pub column: Secret,
    /// The same, read.
    pub stored: Stored,
}

/// Columns of each shape that real rows had of late: unknown users are checked against one of them (and never
/// fit). Which one depends on the name and on how many rows have which shape, so that a name costs what it cost a
/// moment ago, as a real one does, and unknown names together cost what real ones do.
#[derive(Debug)]
pub struct Decoys {
    key: hmac::Key,
    shapes: Vec<Shape>,
    /// Whether the one that is there was made for it: no real row was seen.
    made: bool,
}

#[derive(Debug)]
struct Shape {
    name: String,
    /// How many rows had it of late, fading.
    weight: f64,
    decoy: Candidate,
}

impl Decoys {
    /// Of a column that was made for it, under a secret that is the same after a restart.
    pub fn new(secret: &[u8], column: Secret) -> Result<Self, FormatError> {
        let text = column.expose_str().unwrap_or_default();
        let stored = Stored::parse(text, Unmarked::REFUSED)?.decoy();
        let decoy = Candidate {
            means: Means::Mailbox,
            column,
            stored,
        };
        Ok(Self {
            key: hmac::Key::new(hmac::HMAC_SHA256, secret),
            shapes: vec![Shape {
                name: decoy.stored.shape(),
                weight: 1.0,
                decoy,
            }],
            made: true,
        })
    }

    /// Of a real row: its first password that costs anything to check. A locked account would tell the others
    /// apart, and as many passwords as the richest account has would cost the processors too much.
    pub fn learn(&mut self, candidates: &[Candidate]) {
        let Some(real) = candidates.iter().find(|one| !one.stored.is_locked()) else {
            return;
        };
        if std::mem::take(&mut self.made) {
            self.shapes.clear();
        }
        self.shapes.iter_mut().for_each(|shape| shape.weight *= FADES);
        let name = real.stored.shape();
        match self.shapes.iter_mut().find(|shape| shape.name == name) {
            Some(known) => known.weight += 1.0,
            None => self.shapes.push(Shape {
                name,
                weight: 1.0,
                decoy: Candidate {
                    means: Means::Mailbox,
                    column: real.column.clone(),
                    stored: real.stored.decoy(),
                },
            }),
        }
        self.shapes.retain(|shape| shape.weight >= FORGOTTEN);
        if self.shapes.len() > SHAPES {
            let rarest = self
                .shapes
                .iter()
                .map(|shape| shape.weight)
                .fold(f64::INFINITY, f64::min);
            if let Some(at) = self.shapes.iter().position(|shape| shape.weight <= rarest) {
                self.shapes.remove(at);
            }
        }
    }

    /// What a login without a row, or with a locked one, is checked against: a draw in which each shape has as
    /// many lots as it has weight (weighted rendezvous hashing), so that a change of the weights moves few names.
    pub fn pick(&self, login: &str) -> Vec<Candidate> {
        let scored = self
            .shapes
            .iter()
            .map(|shape| (shape.weight / self.exponential(&shape.name, login), shape));
        let drawn = scored.max_by(|(one, _), (other, _)| one.total_cmp(other));
        drawn.map(|(_, shape)| shape.decoy.clone()).into_iter().collect()
    }

    /// A number that is exponentially distributed over names, and always the same for one.
    fn exponential(&self, shape: &str, login: &str) -> f64 {
        let tag = hmac::sign(&self.key, format!("decoy {shape}\0{login}").as_bytes());
        let bits = tag
            .as_ref()
            .first_chunk::<4>()
            .map_or(0, |bytes| u32::from_be_bytes(*bytes));
        // Between 0 and 1, and never one of them.
        let uniform = (f64::from(bits) + 0.5) / (f64::from(u32::MAX) + 1.0);
        -uniform.ln()
    }
}

/// Which of some passwords fits. Stops where it takes so long that nobody waits for the result any more.
pub fn first_fit(
    candidates: &[Candidate],
    password: &Secret,
    too_late: impl Fn() -> bool,
) -> Result<Option<usize>, String> {
    for (index, candidate) in candidates.iter().enumerate() {
        if index > 0 && too_late() {
            return Err("the stored passwords take too long to check".to_owned());
        }
        let fits = candidate.stored.verify(password);
        if fits.map_err(|error| error.to_string())? {
            return Ok(Some(index));
        }
    }
    Ok(None)
}

/// The passwords of a row, the mailbox's own first. `apps`: those of programs too.
///
/// A column that is broken or over the cap is the site's trouble, not a wrong password.
pub fn candidates(row: &LoginRow, unmarked: Unmarked, apps: bool) -> Result<Vec<Candidate>, String> {
    let (column, stored) = own(row, unmarked)?;
    let mut candidates = vec![Candidate {
        means: Means::Mailbox,
        column: column.clone(),
        stored,
    }];
    if apps {
        // The latest first: its owner just made it, and may use it for the first time.
        let mut latest: Vec<_> = row.app_passwords.iter().collect();
        latest.sort_unstable_by_key(|app| std::cmp::Reverse(app.id));
        for app in latest.into_iter().take(APP_PASSWORDS) {
            match Stored::parse(app.password.expose_str().unwrap_or_default(), unmarked) {
                Ok(stored) if !stored.is_locked() => candidates.push(Candidate {
                    means: Means::App(app.id),
                    column: app.password.clone(),
                    stored,
                }),
                Ok(_) => {}
                Err(error) => tracing::warn!(
                    mailbox = row.mailbox.username,
                    id = app.id,
                    %error,
                    "this app password cannot be used"
                ),
            }
        }
    }
    Ok(candidates)
}

/// Whether a row has passwords that no login tries.
pub fn has_too_many(row: &LoginRow) -> bool {
    row.app_passwords.len() > APP_PASSWORDS
}

/// The column that decides: the hash; where there is none, the one for cleartext, which has no marks.
fn own(row: &LoginRow, unmarked: Unmarked) -> Result<(&Secret, Stored), String> {
    match &row.cleartext {
        Some(clear) if row.password.is_empty() => Ok((clear, Stored::clear(clear))),
        _ => {
            let text = row.password.expose_str().unwrap_or_default();
            let stored = Stored::parse(text, unmarked).map_err(|error| trouble(row, text, error))?;
            Ok((&row.password, stored))
        }
    }
}

/// The password in clear, where the row has it.
pub fn cleartext(row: &LoginRow, unmarked: Unmarked) -> Option<Secret> {
    if let Some(clear) = row.cleartext.as_ref().filter(|clear| !clear.is_empty()) {
        return Some(clear.clone());
    }
    let stored = Stored::parse(row.password.expose_str()?, unmarked).ok()?;
    stored.cleartext().cloned()
}

fn trouble(row: &LoginRow, column: &str, error: FormatError) -> String {
    let hint = match error {
        FormatError::Unsupported if !column.starts_with(['{', '$']) => {
            "; if it is cleartext, set [authd] unmarked_passwords = \"cleartext\""
        }
        _ => "",
    };
    let reason = format!("{}: {error}{hint}", row.mailbox.username);
    tracing::error!(reason, "this mailbox cannot log in");
    reason
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::directory::backend::{AppPassword, MailboxRow};

    fn candidate(column: &str) -> Candidate {
        Candidate {
            means: Means::Mailbox,
            column: Secret::new(column),
            stored: Stored::parse(column, Unmarked::REFUSED).unwrap(),
        }
    }

    fn row(password: &str, cleartext: &str) -> LoginRow {
        LoginRow {
            mailbox: MailboxRow {
                username: "u@d.test".to_owned(),
                maildir: "u/".to_owned(),
                quota: 0,
                uid: None,
                gid: None,
                active: true,
            },
            domain_active: true,
            password: Secret::new(password),
            cleartext: (!cleartext.is_empty()).then(|| Secret::new(cleartext)),
            smtp_active: true,
            password_expiry: None,
            app_passwords: Vec::new(),
        }
    }

    #[test]
    fn a_clear_column_has_no_marks() {
        let own = |password: &str, clear: &str| {
            let row = row(password, clear);
            let candidates = candidates(&row, Unmarked::REFUSED, false).unwrap();
            let fits = |text: &str| candidates[0].stored.verify(&Secret::new(text)).unwrap();
            (fits("{x}y"), fits("$1$z"), fits("pw"))
        };
        assert_eq!(own("", "{x}y"), (true, false, false));
        assert_eq!(own("", "$1$z"), (false, true, false));
        // The hash decides where there is one.
        assert_eq!(own("{PLAIN}pw", "{x}y"), (false, false, true));
    }

    #[test]
    fn the_latest_app_passwords_are_tried() {
        let mut row = row("{PLAIN}pw", "");
        let app = |id: i64| AppPassword {
            id,
            description: String::new(),
            password: Secret::new(format!("{{PLAIN}}app-{id}")),
        };
        row.app_passwords = (1..=64).map(app).collect();
        assert!(!has_too_many(&row));
        row.app_passwords.push(app(65));
        assert!(has_too_many(&row));
        let means: Vec<Means> = candidates(&row, Unmarked::REFUSED, true)
            .unwrap()
            .iter()
            .map(|candidate| candidate.means)
            .collect();
        assert_eq!(means.len(), 65);
        assert_eq!(means[..3], [Means::Mailbox, Means::App(65), Means::App(64)]);
    }

    fn decoys() -> Decoys {
        Decoys::new(b"key", Secret::new("{PLAIN}made")).unwrap()
    }

    /// robustness.md A11: with stored passwords of several kinds a name costs what it always costs.
    #[test]
    fn a_decoy_depends_on_the_name() {
        const MD5: &str = "$1$ab$.ThsTrbyIbEahEdE8LNwj1";
        let sha2 = format!("$6$salt${}", "a".repeat(86));
        let costly = format!("$6$rounds=9000$salt${}", "a".repeat(86));
        let mut decoys = decoys();
        assert_eq!(decoys.pick("x")[0].stored.scheme(), "PLAIN");
        decoys.learn(&[candidate(""), candidate(MD5)]);
        assert_eq!(decoys.pick("x")[0].stored.scheme(), "MD5-CRYPT");
        decoys.learn(&[candidate(&sha2), candidate(MD5), candidate(MD5)]);
        decoys.learn(&[candidate(&costly)]);
        let names: Vec<String> = (0..60).map(|i| format!("u{i}@d.test")).collect();
        let draw = |decoys: &Decoys| -> Vec<String> {
            let pick = |name: &String| {
                let picked = decoys.pick(name);
                assert!(picked.len() == 1 && picked[0].stored.is_decoy());
                picked[0].stored.shape()
            };
            names.iter().map(pick).collect()
        };
        let before = draw(&decoys);
        let mut shapes = before.clone();
        shapes.sort_unstable();
        shapes.dedup();
        assert_eq!(shapes.len(), 3, "{shapes:?}");
        // Whoever logs in meanwhile moves hardly a name.
        for column in [MD5, &costly, &sha2, MD5] {
            decoys.learn(&[candidate(column)]);
        }
        let moved = |decoys: &Decoys| {
            draw(decoys)
                .iter()
                .zip(&before)
                .filter(|(now, then)| now != then)
                .count()
        };
        assert!(moved(&decoys) <= 10, "{}", moved(&decoys));
        let settled = draw(&decoys);
        assert_eq!(draw(&decoys), settled);
        for rounds in 10_000..10_100 {
            decoys.learn(&[candidate(&format!("$6$rounds={rounds}$salt${}", "a".repeat(86)))]);
        }
        assert_eq!(decoys.shapes.len(), SHAPES);
    }

    /// Names that are not there cost together what those cost that are.
    #[test]
    fn decoys_are_as_frequent_as_the_shapes_of_rows() {
        const MD5: &str = "$1$ab$.ThsTrbyIbEahEdE8LNwj1";
        let sha2 = format!("$6$salt${}", "a".repeat(86));
        let mut decoys = decoys();
        let share = |decoys: &Decoys| {
            let of = |number: usize| decoys.pick(&format!("u{number}@d.test"))[0].stored.scheme();
            (0..1_000).filter(|number| of(*number) == "MD5-CRYPT").count()
        };
        for number in 0..1_000 {
            decoys.learn(&[candidate(if number % 4 == 0 { MD5 } else { &sha2 })]);
        }
        assert!((200..300).contains(&share(&decoys)), "{}", share(&decoys));
        // All were hashed anew: what nobody has any more is nobody's decoy.
        for _ in 0..600 {
            decoys.learn(&[candidate(&sha2)]);
        }
        assert_eq!((share(&decoys), decoys.shapes.len()), (0, 1));
    }

    #[test]
    fn checking_ends_when_nobody_waits_any_more() {
        let candidates = ["{PLAIN}a", "{PLAIN}b"].map(candidate);
        let fit = |password: &str, late: bool| first_fit(&candidates, &Secret::new(password), || late);
        assert_eq!(fit("b", false), Ok(Some(1)));
        assert_eq!(fit("c", false), Ok(None));
        assert_eq!(fit("a", true), Ok(Some(0)));
        assert!(fit("b", true).is_err());
    }
}
