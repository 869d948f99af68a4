"""Logs in by Python's own smtplib and imaplib, for tests/tests/mechanisms.rs.

sasl.py SERVICE HOST PORT CA MECHANISM USER PASSWORD; exit status 0: logged in, 3: refused, anything else: trouble.
"""

import imaplib
import smtplib
import ssl
import sys

service, host, port, ca, mechanism, user, password = sys.argv[1:]
context = ssl.create_default_context(cafile=ca)

try:
    if service == "smtp":
        client = smtplib.SMTP_SSL(host, int(port), context=context, timeout=30)
        client.ehlo()
        assert mechanism in client.esmtp_features["auth"].split(), client.esmtp_features
        client.user, client.password = user, password
        client.auth(mechanism, getattr(client, "auth_" + mechanism.lower().replace("-", "_")))
        client.noop()
    else:
        client = imaplib.IMAP4_SSL(host, int(port), ssl_context=context, timeout=30)
        assert "AUTH=" + mechanism in client.capabilities, client.capabilities
        if mechanism == "CRAM-MD5":
            client.login_cram_md5(user, password)
        elif mechanism == "PLAIN":
            client.authenticate("PLAIN", lambda _: f"\0{user}\0{password}".encode())
        else:
            answers = [user.encode(), password.encode()]
            client.authenticate("LOGIN", lambda _: answers.pop(0))
        assert client.select("INBOX")[0] == "OK"
except (smtplib.SMTPAuthenticationError, imaplib.IMAP4.error) as error:
    print(error)
    sys.exit(3)
