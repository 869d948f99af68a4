//! Values of options that are checked when they are read: durations, sizes, networks, addresses, paths,
//! database servers.

mod database_host;
mod duration;
mod listen;
mod mode;
mod names;
mod network;
mod path;
mod size;

pub use database_host::{DatabaseHost, DatabasePlace};
pub use duration::DurationText;
pub use listen::ListenAddr;
pub use mode::FileMode;
pub use names::{Delimiter, HostName, MailAddress};
pub use network::{Network, Networks};
pub use path::{AbsolutePath, FileName, SecretFile, SecretFileError};
pub use size::Size;

/// Implements serde and the schema for a type that is written as text: `FromStr`, `Display`, and the
/// entries of its schema.
macro_rules! text_option {
    ($type:ty, $name:literal, $expecting:literal, $schema:tt) => {
        impl serde::Serialize for $type {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> serde::Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Text;
                impl serde::de::Visitor<'_> for Text {
                    type Value = $type;
                    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                        f.write_str($expecting)
                    }
                    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<$type, E> {
                        text.parse().map_err(E::custom)
                    }
                }
                deserializer.deserialize_str(Text)
            }
        }

        impl schemars::JsonSchema for $type {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                $name.into()
            }
            fn inline_schema() -> bool {
                true
            }
            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                schemars::json_schema!($schema)
            }
        }
    };
}
pub(crate) use text_option;

#[cfg(test)]
mod tests;
