-- Tutorial 2 (compat.md 1.6): its tables, and its rows with the typing errors of TRAP-13 put right.
CREATE TABLE domains (
  domain varchar(63) NOT NULL,
  PRIMARY KEY (domain)
);
CREATE TABLE forwardings (
  email varchar(255) NOT NULL,
  destination text NOT NULL,
  PRIMARY KEY (email)
);
CREATE TABLE transport (
  domain varchar(255) NOT NULL,
  transport varchar(255) NOT NULL,
  PRIMARY KEY (domain)
);
CREATE TABLE users (
  email varchar(255) NOT NULL,
  password varchar(255) NOT NULL,
  quota int(10) NOT NULL default '102400',
  PRIMARY KEY (email)
);
INSERT INTO domains (domain) VALUES ('mydomain.com');
INSERT INTO forwardings (email, destination) VALUES ('myforward@mydomain.com', 'address@mydomain.com, otheraddress@mydomain.com');
INSERT INTO transport (domain, transport) VALUES ('transport.com', 'smtp:mail.transport.com');
