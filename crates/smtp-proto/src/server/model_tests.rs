//! Random command sequences against a reference state machine (row S32).
