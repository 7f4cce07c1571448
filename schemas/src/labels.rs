//! A label: the class that a photo shows, in the words of whoever took it.
//!
//! One rule, everywhere. Any script and any sign is welcome and comes back as it
//! was given, but for Unicode's canonical composition (NFC: the two spellings of
//! `é` are one label) and outer white space, which is dropped.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use unicode_normalization::UnicodeNormalization;

/// The longest label, in bytes of UTF-8. Larger would not fit beside the other
/// headers of an upload once percent-encoded; smaller cuts real names in scripts
/// of three bytes a letter.
pub const MAX_LABEL_BYTES: usize = 256;

/// A label that keeps the rule.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct Label(String);

/// Why a text is no label.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidLabel {
    /// Nothing but white space.
    #[error("the label is empty; a label has 1 to {MAX_LABEL_BYTES} bytes of UTF-8")]
    Empty,
    /// Too long.
    #[error("the label has {0} bytes; a label has 1 to {MAX_LABEL_BYTES} bytes of UTF-8")]
    TooLong(usize),
    /// A line break or another control character, which no list of labels could hold.
    #[error("the label has the control character U+{0:04X}; labels are one line of text")]
    ControlCharacter(u32),
}

impl Label {
    /// The label that stands in a file's name: everything up to the first dot.
    /// `cat.123.jpg` is a `cat`, as Edge Impulse and Create ML have it.
    ///
    /// # Errors
    /// What stands before the first dot is no label.
    pub fn from_file_name(name: &str) -> Result<Self, InvalidLabel> {
        let base = name.rsplit(['/', '\\']).next().unwrap_or(name);
        base.split('.').next().unwrap_or(base).parse()
    }

    /// The label as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Label {
    type Err = InvalidLabel;

    fn from_str(text: &str) -> Result<Self, InvalidLabel> {
        let label: String = text.trim().nfc().collect();
        if label.is_empty() {
            return Err(InvalidLabel::Empty);
        }
        if label.len() > MAX_LABEL_BYTES {
            return Err(InvalidLabel::TooLong(label.len()));
        }
        let breaks_a_line = |c: char| c.is_control() || c == '\u{2028}' || c == '\u{2029}';
        if let Some(c) = label.chars().find(|&c| breaks_a_line(c)) {
            return Err(InvalidLabel::ControlCharacter(c.into()));
        }
        Ok(Self(label))
    }
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Label {
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
    fn any_script_comes_back_as_it_was_given() {
        for text in ["قطة", "बिल्ली", "猫", "🐈‍⬛", "a/b", "Katze (schwarz)"]
        {
            assert_eq!(text.parse::<Label>().unwrap().as_str(), text);
        }
    }

    #[test]
    fn the_two_spellings_of_an_accent_are_one_label() {
        assert_eq!(
            "e\u{301}".parse::<Label>().unwrap(),
            "\u{e9}".parse().unwrap()
        );
    }

    #[test]
    fn what_breaks_a_list_of_labels_is_refused_with_the_rule() {
        assert_eq!(
            "a\nb".parse::<Label>(),
            Err(InvalidLabel::ControlCharacter(10))
        );
        assert_eq!(
            "a\u{2028}b".parse::<Label>(),
            Err(InvalidLabel::ControlCharacter(0x2028))
        );
        assert_eq!(" \t".parse::<Label>(), Err(InvalidLabel::Empty));
        assert_eq!(
            "x".repeat(300).parse::<Label>(),
            Err(InvalidLabel::TooLong(300))
        );
    }

    #[test]
    fn a_file_name_gives_its_label_up_to_the_first_dot() {
        assert_eq!(
            Label::from_file_name("dir/cat.123.jpg").unwrap().as_str(),
            "cat"
        );
        assert!(Label::from_file_name(".hidden").is_err());
    }
}
