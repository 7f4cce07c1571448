//! The draft's headers in their versions: a request's headers come in, what they mean
//! goes out, and answers are written in the client's own version.

use axum::http::{HeaderMap, HeaderName, HeaderValue};

const INTEROP_VERSION: HeaderName = HeaderName::from_static("upload-draft-interop-version");
const UPLOAD_COMPLETE: HeaderName = HeaderName::from_static("upload-complete");
const UPLOAD_INCOMPLETE: HeaderName = HeaderName::from_static("upload-incomplete");

/// The version that a client speaks; none for the RFC to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Version(Option<u8>);

/// Whether the client says that a request brings the last bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Announced {
    Complete,
    MoreToCome,
}

impl Version {
    /// The version in the headers; one that is not known counts as none.
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        let number = headers.get(INTEROP_VERSION);
        let number = number.and_then(|value| value.to_str().ok()?.trim().parse().ok());
        Self(number.filter(|number| (3..=8).contains(number)))
    }

    /// Whether the headers name a version that is known, or none.
    pub(crate) fn is_known(headers: &HeaderMap) -> bool {
        !headers.contains_key(INTEROP_VERSION) || Self::of(headers).0.is_some()
    }

    /// What the headers say of the end of the upload; nothing if they are of no upload.
    pub(crate) fn announced(self, headers: &HeaderMap) -> Option<Announced> {
        let (name, complete) = match self.0 {
            Some(3) => (UPLOAD_INCOMPLETE, "?0"),
            _ => (UPLOAD_COMPLETE, "?1"),
        };
        match item(headers, &name)? {
            flag if flag == complete => Some(Announced::Complete),
            "?0" | "?1" => Some(Announced::MoreToCome),
            _ => None,
        }
    }

    /// Says in an answer whether the upload is complete, and in which version.
    pub(crate) fn tell(self, headers: &mut HeaderMap, is_complete: bool) {
        let flag = |is_true| HeaderValue::from_static(if is_true { "?1" } else { "?0" });
        match self.0 {
            Some(3) => headers.insert(UPLOAD_INCOMPLETE, flag(!is_complete)),
            _ => headers.insert(UPLOAD_COMPLETE, flag(is_complete)),
        };
        if let Some(number) = self.0 {
            headers.insert(INTEROP_VERSION, u64::from(number).into());
        }
    }

    /// Whether bytes that are added must be declared as such.
    pub(crate) fn wants_media_type(self) -> bool {
        self.0.is_none_or(|number| number >= 6)
    }
}

/// A structured field that is a non-negative integer; another value counts as none.
pub(super) fn integer(headers: &HeaderMap, name: &HeaderName) -> Option<u64> {
    let text = item(headers, name)?;
    let is_integer = (1..=15).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
    is_integer.then(|| text.parse().ok())?
}

/// The bare item of a structured field, without its parameters.
fn item<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    let mut values = headers.get_all(name).iter();
    let (value, None) = (values.next()?, values.next()) else {
        return None;
    };
    Some(value.to_str().ok()?.split(';').next()?.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let pairs = pairs.iter().map(|(name, value)| {
            (
                HeaderName::from_static(name),
                HeaderValue::from_static(value),
            )
        });
        pairs.collect()
    }

    #[test]
    fn version_3_says_the_opposite_and_unknown_ones_are_told() {
        for (pairs, announced) in [
            (
                &[("upload-complete", "?0")][..],
                Some(Announced::MoreToCome),
            ),
            (&[("upload-complete", "?1;x=1")], Some(Announced::Complete)),
            (&[("upload-complete", "true")], None),
            (&[], None),
            (
                &[
                    ("upload-draft-interop-version", "3"),
                    ("upload-incomplete", "?0"),
                ],
                Some(Announced::Complete),
            ),
            (
                &[
                    ("upload-draft-interop-version", "3"),
                    ("upload-incomplete", "?1"),
                ],
                Some(Announced::MoreToCome),
            ),
            (
                &[
                    ("upload-draft-interop-version", "8"),
                    ("upload-complete", "?0"),
                ],
                Some(Announced::MoreToCome),
            ),
        ] {
            let headers = headers(pairs);
            assert_eq!(
                Version::of(&headers).announced(&headers),
                announced,
                "{pairs:?}"
            );
            assert!(Version::is_known(&headers));
        }
        for unknown in ["2", "9", "x"] {
            assert!(!Version::is_known(&headers(&[(
                "upload-draft-interop-version",
                unknown
            )])));
        }
    }

    #[test]
    fn an_integer_is_digits_and_nothing_else() {
        let name = HeaderName::from_static("upload-offset");
        let read = |text| integer(&headers(&[("upload-offset", text)]), &name);
        assert_eq!(
            (read("0"), read("12;a"), read(" 7 ")),
            (Some(0), Some(12), Some(7))
        );
        for bad in ["", "-1", "1.0", "+1", "1234567890123456"] {
            assert_eq!(read(bad), None, "{bad}");
        }
    }
}
