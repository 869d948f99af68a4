//! The durable queue on disk: message files, journals, quarantine.
