//! The one configuration file: checked options, their documentation, errors that name file and line.
