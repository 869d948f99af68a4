-- Tutorial 5 (compat.md 1.7): the tables that its maps imply.
CREATE TABLE postfix_alias (alias varchar(128) NOT NULL PRIMARY KEY, destination varchar(255) NOT NULL);
CREATE TABLE postfix_access (
  source varchar(128) NOT NULL, access varchar(128) NOT NULL, type varchar(16) NOT NULL, UNIQUE (source, type));
CREATE TABLE postfix_relocated (email varchar(128) NOT NULL PRIMARY KEY, destination varchar(255) NOT NULL);
CREATE TABLE postfix_transport (domain varchar(128) NOT NULL PRIMARY KEY, destination varchar(255) NOT NULL);
CREATE TABLE postfix_virtual (email varchar(128) NOT NULL PRIMARY KEY, destination text NOT NULL);
CREATE TABLE postfix_users (
  email varchar(128) NOT NULL PRIMARY KEY, clear varchar(128) NOT NULL DEFAULT '', name varchar(128) NOT NULL DEFAULT '',
  uid int NOT NULL DEFAULT 5000, gid int NOT NULL DEFAULT 5000, homedir varchar(255) NOT NULL DEFAULT '',
  maildir varchar(255) NOT NULL DEFAULT '', quota varchar(255) NOT NULL DEFAULT '',
  postfix char(1) NOT NULL DEFAULT 'y');
