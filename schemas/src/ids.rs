//! Identities: newtypes that cannot be mixed up, each with one text form that is
//! the same in URLs, events, object keys and table rows.

use std::fmt;
use std::str::FromStr;

use data_encoding::HEXLOWER;
use rand::Rng;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

/// A text that is not the id it should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a {what}: {rule}")]
pub struct InvalidId {
    what: &'static str,
    rule: &'static str,
    text: String,
}

macro_rules! uuid_id {
    ($(#[$doc:meta])* $name:ident, $what:literal) => {
        $(#[$doc])*
        #[derive(
            Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema,
        )]
        #[serde(transparent)]
        #[schema(value_type = String, format = Uuid)]
        pub struct $name(Uuid);

        impl $name {
            /// A new id for a thing that begins now.
            pub fn new() -> Self {
                Self(Uuid::now_v7())
            }

            /// The id's 16 bytes.
            pub fn as_bytes(&self) -> &[u8; 16] {
                self.0.as_bytes()
            }
        }

        impl TryFrom<&[u8]> for $name {
            type Error = InvalidId;

            fn try_from(bytes: &[u8]) -> Result<Self, InvalidId> {
                Uuid::from_slice(bytes).map(Self).map_err(|_| InvalidId {
                    what: $what,
                    rule: "16 bytes are needed",
                    text: HEXLOWER.encode(bytes),
                })
            }
        }

        impl Default for $name {
            fn default() -> Self {
                Self::new()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.hyphenated().fmt(f)
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;

            fn from_str(text: &str) -> Result<Self, InvalidId> {
                // Only the hyphenated form: one id, one spelling.
                match Uuid::try_parse(text) {
                    Ok(uuid) if text.len() == 36 => Ok(Self(uuid)),
                    _ => Err(InvalidId {
                        what: $what,
                        rule: "a UUID with hyphens is needed",
                        text: text.into(),
                    }),
                }
            }
        }
    };
}

uuid_id! {
    /// One uploaded photo: a UUID version 7, so ids sort by the time they were given.
    CaptureId, "capture id"
}

uuid_id! {
    /// One upload that arrives in several requests: a UUID version 7.
    UploadId, "upload id"
}

uuid_id! {
    /// One training: a UUID version 7.
    TrainingId, "training id"
}

uuid_id! {
    /// One trained model: a UUID version 7.
    ModelId, "model id"
}

impl ModelId {
    /// The id that an attempt of a training gives its model: always the same, so that what
    /// an attempt left behind can be found by the next. It sorts by the training's time.
    pub fn of_attempt(training: TrainingId, attempt: u32) -> Self {
        let named = [training.as_bytes().as_slice(), &attempt.to_be_bytes()].concat();
        let hash = Sha256::of(&named);
        let mut random = [0; 10];
        random.copy_from_slice(&hash.as_bytes()[..10]);
        let ms = training.as_bytes()[..6]
            .iter()
            .fold(0, |ms, &byte| ms << 8 | u64::from(byte));
        Self(uuid::Builder::from_unix_timestamp_millis(ms, &random).into_uuid())
    }
}

/// One dataset: its name at birth and six random characters, as in `cats-k3v9q2`.
///
/// Readable, because people meet it in folders and in SQL; unique, so a deleted
/// dataset's files never become those of a new one with the same name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, ToSchema)]
#[serde(transparent)]
#[schema(value_type = String, example = "cats-k3v9q2")]
pub struct DatasetId(String);

const DATASET_NAME_RULE: &str =
    "1 to 64 of a-z, 0-9, '-' and '_', beginning with a letter or a digit";

impl DatasetId {
    /// A new id for a dataset of this name.
    ///
    /// # Errors
    /// The name has other than 1 to 64 of `a-z`, `0-9`, `-` and `_`, or begins with `-` or `_`.
    pub fn for_name(name: &str) -> Result<Self, InvalidId> {
        const ALPHABET: &[u8] = b"abcdefghijkmnpqrstuvwxyz23456789";
        if !is_dataset_name(name) {
            return Err(InvalidId {
                what: "dataset name",
                rule: DATASET_NAME_RULE,
                text: name.into(),
            });
        }
        let mut rng = rand::rng();
        let suffix = (0..6).map(|_| char::from(ALPHABET[rng.random_range(0..ALPHABET.len())]));
        Ok(Self(format!("{name}-{}", suffix.collect::<String>())))
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn is_dataset_name(name: &str) -> bool {
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    name.len() <= 64
        && name.bytes().next().is_some_and(plain)
        && name.bytes().all(|b| plain(b) || b == b'-' || b == b'_')
}

impl fmt::Display for DatasetId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for DatasetId {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        let valid = text.rsplit_once('-').is_some_and(|(name, suffix)| {
            is_dataset_name(name) && suffix.len() == 6 && is_dataset_name(suffix)
        });
        if valid {
            Ok(Self(text.into()))
        } else {
            Err(InvalidId {
                what: "dataset id",
                rule: "a name, '-' and six characters are needed",
                text: text.into(),
            })
        }
    }
}

impl<'de> Deserialize<'de> for DatasetId {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}

/// The SHA-256 of some bytes; 64 lower-case hex digits as text.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Sha256([u8; 32]);

impl Sha256 {
    /// The hash of `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        use sha2::Digest as _;
        Self(sha2::Sha256::digest(bytes).into())
    }

    /// The hash's 32 bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl From<[u8; 32]> for Sha256 {
    fn from(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }
}

impl TryFrom<&[u8]> for Sha256 {
    type Error = InvalidId;

    fn try_from(bytes: &[u8]) -> Result<Self, InvalidId> {
        bytes.try_into().map(Self).map_err(|_| InvalidId {
            what: "SHA-256",
            rule: "32 bytes are needed",
            text: HEXLOWER.encode(bytes),
        })
    }
}

impl fmt::Display for Sha256 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&HEXLOWER.encode(&self.0))
    }
}

impl fmt::Debug for Sha256 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Sha256 {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        HEXLOWER
            .decode(text.as_bytes())
            .ok()
            .and_then(|bytes| bytes.try_into().ok())
            .map(Self)
            .ok_or(InvalidId {
                what: "SHA-256",
                rule: "64 lower-case hex digits are needed",
                text: text.into(),
            })
    }
}

impl Serialize for Sha256 {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Sha256 {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dataset_id_keeps_its_name_readable_and_parses_back() {
        let id = DatasetId::for_name("my-cats_2").unwrap();
        assert!(id.as_str().starts_with("my-cats_2-"));
        assert_eq!(id.as_str().parse::<DatasetId>().unwrap(), id);
    }

    #[test]
    fn dataset_names_that_could_leave_a_folder_are_refused() {
        for name in [
            "",
            "../x",
            "a/b",
            "-a",
            "_a",
            "Cats",
            "ä",
            "a b",
            &"a".repeat(65),
        ] {
            assert!(DatasetId::for_name(name).is_err(), "{name:?}");
        }
        for id in [
            "cats",
            "cats-",
            "../cats-abc234",
            "cats-ABC234",
            "cats-abc2345",
        ] {
            assert!(id.parse::<DatasetId>().is_err(), "{id:?}");
        }
    }

    #[test]
    fn a_capture_id_has_one_spelling() {
        let id = CaptureId::new();
        assert_eq!(id.to_string().parse::<CaptureId>().unwrap(), id);
        assert!(
            id.to_string()
                .replace('-', "")
                .parse::<CaptureId>()
                .is_err()
        );
    }

    #[test]
    fn a_sha256_is_that_of_its_bytes() {
        let text = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(Sha256::of(b"abc").to_string(), text);
        assert_eq!(text.parse::<Sha256>().unwrap(), Sha256::of(b"abc"));
    }
}
