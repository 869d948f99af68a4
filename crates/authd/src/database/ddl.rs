//! The tables of PostfixAdmin 4.0 as SQLite has them (compat.md 1.2, 1.3), made on first use.

use super::schema::TableNames;

/// The statements for tables that a site calls so.
pub fn postfixadmin_4(names: &TableNames) -> String {
    let mut statements = String::with_capacity(POSTFIXADMIN_4.len());
    let mut rest = POSTFIXADMIN_4;
    // Names of tables follow one of these words and end at the parenthesis.
    while let Some((at, word)) = ["TABLE ", "REFERENCES ", "INTO ", " ON "]
        .into_iter()
        .filter_map(|word| Some((rest.find(word)?, word)))
        .min()
    {
        let (before, after) = rest.split_at(at + word.len());
        statements.push_str(before);
        let end = after.find(['(', ' ']).unwrap_or(after.len());
        match &after[..end] {
            // ON DELETE CASCADE
            word @ "DELETE" => statements.push_str(word),
            table => statements.push_str(&format!("`{}`", names.of(table))),
        }
        rest = &after[end..];
    }
    statements.push_str(rest);
    statements
}

/// Written so that PostfixAdmin itself can take the file over: same names, types and defaults, and the row
/// `config.version`.
const POSTFIXADMIN_4: &str = "
CREATE TABLE config (
  id INTEGER PRIMARY KEY AUTOINCREMENT, name varchar(20) NOT NULL DEFAULT '', value varchar(20) NOT NULL DEFAULT '');
CREATE UNIQUE INDEX config_name ON config(name);
INSERT INTO config(name, value) VALUES ('version', '1851');
CREATE TABLE admin (
  username varchar(255) NOT NULL PRIMARY KEY, password varchar(255) NOT NULL,
  created datetime NOT NULL DEFAULT '2000-01-01', modified datetime NOT NULL DEFAULT '2000-01-01',
  active tinyint(1) NOT NULL DEFAULT '1', superadmin tinyint(1) NOT NULL DEFAULT '0',
  phone varchar(30) NOT NULL DEFAULT '', email_other varchar(255) NOT NULL DEFAULT '',
  token varchar(255) NOT NULL DEFAULT '', token_validity datetime NOT NULL DEFAULT '2000-01-01',
  totp_secret varchar(255) DEFAULT NULL);
CREATE TABLE domain (
  domain varchar(255) NOT NULL PRIMARY KEY, description varchar(255) NOT NULL,
  aliases int(10) NOT NULL DEFAULT '0', mailboxes int(10) NOT NULL DEFAULT '0',
  maxquota bigint(20) NOT NULL DEFAULT '0', quota bigint(20) NOT NULL DEFAULT '0',
  transport varchar(255) NOT NULL, backupmx tinyint(1) NOT NULL DEFAULT '0',
  created datetime NOT NULL DEFAULT '2000-01-01', modified datetime NOT NULL DEFAULT '2000-01-01',
  active tinyint(1) NOT NULL DEFAULT '1', password_expiry int(11) DEFAULT '0');
CREATE TABLE alias (
  address varchar(255) NOT NULL PRIMARY KEY, goto text NOT NULL, domain varchar(255) NOT NULL,
  created datetime NOT NULL DEFAULT '2000-01-01', modified datetime NOT NULL DEFAULT '2000-01-01',
  active tinyint(1) NOT NULL DEFAULT '1');
CREATE INDEX alias_domain_idx ON alias(domain);
CREATE TABLE alias_domain (
  alias_domain varchar(255) NOT NULL PRIMARY KEY, target_domain varchar(255) NOT NULL,
  created datetime NOT NULL DEFAULT '2000-01-01', modified datetime NOT NULL DEFAULT '2000-01-01',
  active tinyint(1) NOT NULL DEFAULT '1');
CREATE TABLE domain_admins (
  username varchar(255) NOT NULL, domain varchar(255) NOT NULL,
  created datetime NOT NULL DEFAULT '2000-01-01', active tinyint(1) NOT NULL DEFAULT '1');
CREATE TABLE mailbox (
  username varchar(255) NOT NULL PRIMARY KEY, password varchar(255) NOT NULL, name varchar(255) NOT NULL,
  maildir varchar(255) NOT NULL, quota bigint(20) NOT NULL DEFAULT '0', local_part varchar(255) NOT NULL,
  domain varchar(255) NOT NULL,
  created datetime NOT NULL DEFAULT '2000-01-01', modified datetime NOT NULL DEFAULT '2000-01-01',
  active tinyint(1) NOT NULL DEFAULT '1', phone varchar(30) NOT NULL DEFAULT '',
  email_other varchar(255) NOT NULL DEFAULT '', token varchar(255) NOT NULL DEFAULT '',
  token_validity datetime NOT NULL DEFAULT '2000-01-01',
  password_expiry datetime NOT NULL DEFAULT '2000-01-01',
  totp_secret varchar(255) DEFAULT NULL, smtp_active tinyint(1) NOT NULL DEFAULT '1');
CREATE INDEX mailbox_domain_idx ON mailbox(domain);
CREATE TABLE log (
  id INTEGER PRIMARY KEY AUTOINCREMENT, timestamp datetime NOT NULL DEFAULT '2000-01-01',
  username varchar(255) NOT NULL, domain varchar(255) NOT NULL, action varchar(255) NOT NULL,
  data text NOT NULL);
CREATE INDEX log_domain_timestamp_idx ON log(domain, timestamp);
CREATE TABLE quota (
  username varchar(255) NOT NULL, path varchar(100) NOT NULL, current bigint(20) NOT NULL DEFAULT '0',
  PRIMARY KEY (username, path));
CREATE TABLE quota2 (
  username varchar(100) NOT NULL PRIMARY KEY, bytes bigint(20) NOT NULL DEFAULT '0',
  messages int(11) NOT NULL DEFAULT '0');
CREATE TABLE vacation (
  email varchar(255) NOT NULL PRIMARY KEY, subject varchar(255) NOT NULL, body text NOT NULL,
  activefrom timestamp NOT NULL DEFAULT '2000-01-01', activeuntil timestamp NOT NULL DEFAULT '2038-01-18',
  cache text NOT NULL DEFAULT '', domain varchar(255) NOT NULL, interval_time int(11) NOT NULL DEFAULT '0',
  created datetime NOT NULL DEFAULT '2000-01-01', modified timestamp NOT NULL DEFAULT CURRENT_TIMESTAMP,
  active tinyint(1) NOT NULL DEFAULT '1');
CREATE TABLE vacation_notification (
  on_vacation varchar(255) NOT NULL REFERENCES vacation(email) ON DELETE CASCADE,
  notified varchar(255) NOT NULL DEFAULT '', notified_at timestamp NOT NULL DEFAULT CURRENT_TIMESTAMP,
  PRIMARY KEY (on_vacation, notified));
CREATE TABLE fetchmail (
  id INTEGER PRIMARY KEY AUTOINCREMENT, domain varchar(255) DEFAULT '', mailbox varchar(255) NOT NULL,
  src_server varchar(255) NOT NULL, src_port int(11) NOT NULL DEFAULT '0', src_auth varchar(20) DEFAULT NULL,
  src_user varchar(255) NOT NULL, src_password varchar(255) NOT NULL, src_folder varchar(255) NOT NULL,
  poll_time int(11) NOT NULL DEFAULT '10', fetchall tinyint(1) NOT NULL DEFAULT '0',
  keep tinyint(1) NOT NULL DEFAULT '0', protocol varchar(10) DEFAULT NULL,
  usessl tinyint(1) NOT NULL DEFAULT '0', sslcertck tinyint(1) NOT NULL DEFAULT '0',
  sslcertpath varchar(255) DEFAULT '', sslfingerprint varchar(255) DEFAULT '', extra_options text,
  returned_text text, mda varchar(255) DEFAULT NULL, date timestamp NOT NULL DEFAULT '2000-01-01',
  created timestamp NOT NULL DEFAULT '2000-01-01', modified timestamp NOT NULL DEFAULT CURRENT_TIMESTAMP,
  active tinyint(1) NOT NULL DEFAULT '0');
CREATE TABLE dkim (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  domain_name varchar(255) NOT NULL REFERENCES domain(domain) ON DELETE CASCADE,
  description varchar(255) NOT NULL DEFAULT '', selector varchar(63) NOT NULL DEFAULT 'default',
  private_key text, public_key text, created datetime NOT NULL DEFAULT '2000-01-01',
  modified datetime NOT NULL DEFAULT '2000-01-01');
CREATE TABLE dkim_signing (
  id INTEGER PRIMARY KEY AUTOINCREMENT, author varchar(255) NOT NULL DEFAULT '',
  dkim_id int(11) NOT NULL REFERENCES dkim(id) ON DELETE CASCADE,
  created datetime NOT NULL DEFAULT '2000-01-01', modified datetime NOT NULL DEFAULT '2000-01-01');
CREATE TABLE totp_exception_address (
  id INTEGER PRIMARY KEY AUTOINCREMENT, ip varchar(46) NOT NULL, username varchar(255) DEFAULT NULL,
  description varchar(255) DEFAULT NULL, UNIQUE (ip, username));
CREATE TABLE mailbox_app_password (
  id INTEGER PRIMARY KEY AUTOINCREMENT, username varchar(255) DEFAULT NULL,
  description varchar(255) DEFAULT NULL, password_hash varchar(255) DEFAULT NULL);
";
