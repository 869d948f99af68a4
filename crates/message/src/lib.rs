//! Message headers, MIME structure and delivery status notifications as pure functions over bytes.
