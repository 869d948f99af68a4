//! The mail store on Maildir++: delivery, folders, UID log, metadata cache and account file.
