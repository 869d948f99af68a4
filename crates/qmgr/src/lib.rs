//! The queue manager: routing, retry, reports, outbound SMTP.
