//! The commands of the project: up, test, ci, tidy and the generated files.

fn main() {}
