//! Delivery status notifications: composing RFC 3464 reports.
