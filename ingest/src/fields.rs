//! What a client says about its photo, in headers or in the parts of a form: text
//! comes in, checked fields go out. One rule for both, so a label is the same
//! whichever way it came. A part wins over the header of the same meaning.

use std::collections::BTreeMap;

use axum::http::{HeaderMap, HeaderValue};
use catalog::http::ApiError;
use catalog::nearest;
use chrono::{DateTime, Utc};
use schemas::http::{Dataset, UnknownLabels};
use schemas::{Label, Sha256};
use serde::{Deserialize, Serialize};
use sha2::Digest as _;

use crate::refusal;

/// The most entries of `metadata`. More would make table rows of what belongs beside them.
const MAX_METADATA_ENTRIES: usize = 32;
/// The largest `metadata`, as JSON, in bytes. Larger does not fit beside the other headers.
const MAX_METADATA_BYTES: usize = 4 * 1024;
/// The longest device id, in bytes. It is repeated in every row.
const MAX_DEVICE_BYTES: usize = 128;
/// The longest file name, in bytes; only what stands before its first dot is used.
const MAX_FILE_NAME_BYTES: usize = 1024;
/// The longest `Idempotency-Key`, in bytes.
const MAX_KEY_BYTES: usize = 255;

/// A field, by where it may stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Field {
    Label,
    CapturedAt,
    Device,
    Metadata,
}

impl Field {
    const ALL: [Self; 4] = [Self::Label, Self::CapturedAt, Self::Device, Self::Metadata];

    fn header(self) -> &'static str {
        match self {
            Self::Label => "x-label",
            Self::CapturedAt => "x-captured-at",
            Self::Device => "x-device-id",
            Self::Metadata => "x-metadata",
        }
    }

    fn part(self) -> &'static str {
        match self {
            Self::Label => "label",
            Self::CapturedAt => "captured_at",
            Self::Device => "device_id",
            Self::Metadata => "metadata",
        }
    }
}

/// The fields that have come so far.
#[derive(Debug, Default)]
pub(crate) struct Fields {
    label: Option<Label>,
    file_name: Option<String>,
    captured_at: Option<DateTime<Utc>>,
    device: String,
    metadata: BTreeMap<String, String>,
}

/// All that is known of a photo beside its bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Details {
    pub label: Label,
    pub captured_at: Option<DateTime<Utc>>,
    pub device: String,
    pub metadata: BTreeMap<String, String>,
}

impl Fields {
    /// Reads the headers `X-Label`, `X-File-Name`, `X-Captured-At`, `X-Device-Id` and `X-Metadata`.
    pub(crate) fn from_headers(headers: &HeaderMap) -> Result<Self, ApiError> {
        let mut fields = Self::default();
        for field in Field::ALL {
            if let Some(text) = header_text(headers, field.header())? {
                fields.set(field, field.header(), &text)?;
            }
        }
        if let Some(name) = header_text(headers, "x-file-name")? {
            fields.set_file_name(name);
        }
        Ok(fields)
    }

    /// Whether a part of this name is one of the small parts of a form.
    pub(crate) fn is_part(name: &str) -> bool {
        Field::ALL.iter().any(|field| field.part() == name)
    }

    /// Takes what stands in a small part of a form.
    pub(crate) fn set_part(&mut self, name: &str, text: &str) -> Result<(), ApiError> {
        match Field::ALL.into_iter().find(|field| field.part() == name) {
            Some(field) => self.set(field, field.part(), text),
            None => Err(refusal::unknown_part(name)),
        }
    }

    /// Takes the name of the file, from which the label is read if nothing else tells it.
    pub(crate) fn set_file_name(&mut self, mut name: String) {
        let mut end = MAX_FILE_NAME_BYTES.min(name.len());
        while !name.is_char_boundary(end) {
            end -= 1;
        }
        name.truncate(end);
        self.file_name = Some(name);
    }

    /// Whether the label is told already, so that it can be judged before the body is read.
    pub(crate) fn label(&self) -> Result<Label, ApiError> {
        match (&self.label, &self.file_name) {
            (Some(label), _) => Ok(label.clone()),
            (None, Some(name)) => Label::from_file_name(name)
                .map_err(|error| refusal::invalid_label("the file name", &error)),
            (None, None) => Err(refusal::label_missing()),
        }
    }

    /// The fields, now that no more come.
    pub(crate) fn finish(self) -> Result<Details, ApiError> {
        Ok(Details {
            label: self.label()?,
            captured_at: self.captured_at,
            device: self.device,
            metadata: self.metadata,
        })
    }

    fn set(&mut self, field: Field, source: &'static str, text: &str) -> Result<(), ApiError> {
        let broken = |rule: &str| Err(refusal::invalid_field(source, rule));
        match field {
            Field::Label => {
                let label = text.parse();
                self.label = Some(label.map_err(|error| refusal::invalid_label(source, &error))?);
            }
            Field::CapturedAt => match DateTime::parse_from_rfc3339(text.trim()) {
                Ok(time) => self.captured_at = Some(time.with_timezone(&Utc)),
                Err(_) => return broken("RFC 3339 is needed, as in 2026-05-17T09:30:00+02:00"),
            },
            Field::Device => {
                if text.len() > MAX_DEVICE_BYTES || text.chars().any(char::is_control) {
                    return broken("at most 128 bytes of text without control characters");
                }
                self.device = text.into();
            }
            Field::Metadata => {
                if text.len() > MAX_METADATA_BYTES {
                    return broken("at most 4 KiB of JSON");
                }
                match serde_json::from_str::<BTreeMap<String, String>>(text) {
                    Ok(map) if map.len() <= MAX_METADATA_ENTRIES => self.metadata = map,
                    Ok(_) => return broken("at most 32 entries"),
                    Err(_) => return broken("a JSON object is needed whose values are all text"),
                }
            }
        }
        Ok(())
    }
}

impl Details {
    /// What an `Idempotency-Key` stands for: the same photo with the same words about it.
    pub(crate) fn fingerprint(&self, photo: Sha256) -> Sha256 {
        let mut hasher = sha2::Sha256::new();
        // Each text behind its length: no two different uploads run into one.
        let mut add = |text: &[u8]| {
            hasher.update((text.len() as u64).to_le_bytes());
            hasher.update(text);
        };
        let captured_at = self
            .captured_at
            .map_or(i64::MIN, |at| at.timestamp_micros());
        add(photo.as_bytes());
        add(self.label.as_str().as_bytes());
        add(self.device.as_bytes());
        add(&captured_at.to_le_bytes());
        for (name, value) in &self.metadata {
            add(name.as_bytes());
            add(value.as_bytes());
        }
        Sha256::from(<[u8; 32]>::from(hasher.finalize()))
    }
}

/// What the dataset's policy makes of a label.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    /// It is listed.
    Known,
    /// It joins the list once the photo is in.
    New,
    /// The photo waits for a person.
    Review,
}

impl Standing {
    /// Judges `label` by the dataset's list and policy.
    pub(crate) fn of(label: &Label, dataset: &Dataset) -> Result<Self, ApiError> {
        if dataset.labels.contains(label) {
            return Ok(Self::Known);
        }
        match dataset.policy.unknown_labels {
            UnknownLabels::Add => Ok(Self::New),
            UnknownLabels::Review => Ok(Self::Review),
            UnknownLabels::Reject => {
                let known = dataset.labels.iter().map(Label::as_str);
                let nearest = nearest(label.as_str(), known);
                Err(refusal::unknown_label(label, &dataset.name, &nearest))
            }
        }
    }
}

/// The `Idempotency-Key`, if there is one.
pub(crate) fn idempotency_key(headers: &HeaderMap) -> Result<Option<String>, ApiError> {
    let mut keys = headers.get_all("idempotency-key").iter();
    let Some(key) = keys.next() else {
        return Ok(None);
    };
    let key = key.to_str().unwrap_or_default();
    let fits = (1..=MAX_KEY_BYTES).contains(&key.len());
    if fits && key.bytes().all(|b| b.is_ascii_graphic()) && keys.next().is_none() {
        Ok(Some(key.into()))
    } else {
        Err(refusal::invalid_idempotency_key())
    }
}

fn header_text(headers: &HeaderMap, name: &'static str) -> Result<Option<String>, ApiError> {
    let mut values = headers.get_all(name).iter();
    let Some(value) = values.next() else {
        return Ok(None);
    };
    if values.next().is_some() {
        return Err(refusal::invalid_field(name, "it stands there twice"));
    }
    match decode(value) {
        Some(text) => Ok(Some(text)),
        None => Err(refusal::invalid_field(
            name,
            "UTF-8 is needed, best percent-encoded as JavaScript's encodeURIComponent does it",
        )),
    }
}

/// Percent-encoded UTF-8, or else the raw text. As `decodeURIComponent` does, text
/// with any `%` that begins no escape counts as raw whole: `100% wool` stays itself.
fn decode(value: &HeaderValue) -> Option<String> {
    let raw = value.as_bytes();
    let is_escape = |at: usize| {
        let digits = raw.get(at + 1..at + 3);
        digits.is_some_and(|two| two.iter().all(u8::is_ascii_hexdigit))
    };
    let mut percents = (0..raw.len()).filter(|&at| raw[at] == b'%');
    if percents.all(is_escape)
        && let Ok(text) = percent_encoding::percent_decode(raw).decode_utf8()
    {
        return Some(text.into_owned());
    }
    std::str::from_utf8(raw).ok().map(String::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let value = |text: &str| HeaderValue::from_bytes(text.as_bytes()).unwrap();
        let pairs = pairs.iter().map(|(name, text)| (*name, value(text)));
        pairs
            .map(|(name, value)| (axum::http::HeaderName::from_static(name), value))
            .collect()
    }

    fn label_of(pairs: &[(&'static str, &str)]) -> Result<String, &'static str> {
        let fields = Fields::from_headers(&headers(pairs)).map_err(|refusal| refusal.code)?;
        let details = fields.finish().map_err(|refusal| refusal.code)?;
        Ok(details.label.to_string())
    }

    #[test]
    fn a_header_is_percent_decoded_and_else_taken_as_it_stands() {
        for (sent, label) in [
            ("%E7%8C%AB", "猫"),
            ("猫", "猫"),
            ("a%2Fb", "a/b"),
            ("100% wool", "100% wool"),
            ("50%25", "50%"),
            ("%E9t%E9", "%E9t%E9"),
            ("100% caf%C3%A9", "100% caf%C3%A9"),
        ] {
            assert_eq!(label_of(&[("x-label", sent)]).as_deref(), Ok(label));
        }
    }

    #[test]
    fn without_a_label_the_file_name_tells_it_up_to_its_first_dot() {
        assert_eq!(
            label_of(&[("x-file-name", "cat.123.jpg")]).as_deref(),
            Ok("cat")
        );
        let both = [("x-file-name", "cat.jpg"), ("x-label", "dog")];
        assert_eq!(label_of(&both).as_deref(), Ok("dog"));
        assert_eq!(label_of(&[("x-file-name", ".jpg")]), Err("invalid_label"));
        assert_eq!(label_of(&[]), Err("label_missing"));
    }

    #[test]
    fn fields_that_break_their_rule_are_refused() {
        let long = "x".repeat(129);
        let many: BTreeMap<_, _> = (0..33).map(|i| (i.to_string(), "")).collect();
        let many = serde_json::to_string(&many).unwrap();
        for (name, text) in [
            ("x-captured-at", "yesterday"),
            ("x-captured-at", "2026-05-17"),
            ("x-device-id", long.as_str()),
            ("x-device-id", "a%00b"),
            ("x-metadata", "[]"),
            ("x-metadata", r#"{"a":1}"#),
            ("x-metadata", many.as_str()),
        ] {
            let refused = Fields::from_headers(&headers(&[(name, text)])).unwrap_err();
            assert_eq!(refused.code, "invalid_field", "{name}: {text}");
            assert!(refused.detail.starts_with(name));
        }
        let mut twice = headers(&[("x-label", "a")]);
        twice.append("x-label", HeaderValue::from_static("b"));
        assert!(Fields::from_headers(&twice).is_err());
    }

    #[test]
    fn the_fingerprint_tells_every_field_apart() {
        let details = |label: &str, device: &str, metadata: &[(&str, &str)]| Details {
            label: label.parse().unwrap(),
            captured_at: None,
            device: device.into(),
            metadata: metadata
                .iter()
                .map(|(k, v)| ((*k).into(), (*v).into()))
                .collect(),
        };
        let photo = Sha256::of(b"photo");
        let base = details("ab", "c", &[("k", "v")]);
        assert_eq!(base.fingerprint(photo), base.clone().fingerprint(photo));
        let mut later = base.clone();
        later.captured_at = Some(DateTime::UNIX_EPOCH);
        for other in [
            details("a", "bc", &[("k", "v")]),
            details("ab", "c", &[("kv", "")]),
            details("ab", "c", &[]),
            later,
        ] {
            assert_ne!(base.fingerprint(photo), other.fingerprint(photo));
        }
        assert_ne!(base.fingerprint(photo), base.fingerprint(Sha256::of(b"x")));
    }

    #[test]
    fn an_idempotency_key_is_1_to_255_visible_ascii_characters() {
        let key = |text: &str| idempotency_key(&headers(&[("idempotency-key", text)]));
        assert_eq!(key("\"8e03\"").unwrap().as_deref(), Some("\"8e03\""));
        assert_eq!(key(&"k".repeat(255)).unwrap().unwrap().len(), 255);
        for bad in ["", "a b", "ключ", &"k".repeat(256)] {
            assert_eq!(key(bad).unwrap_err().code, "invalid_idempotency_key");
        }
        assert_eq!(idempotency_key(&HeaderMap::new()).unwrap(), None);
    }
}
