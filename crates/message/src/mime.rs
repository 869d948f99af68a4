//! MIME structure: ENVELOPE, BODYSTRUCTURE and access to sections.
