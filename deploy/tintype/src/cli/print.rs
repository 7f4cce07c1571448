//! What goes to standard output, and how text that others wrote (paths, labels,
//! answers) is made safe for a terminal.

use std::borrow::Cow;
use std::io::Write as _;

use serde::Serialize;

/// Writes `text` and a line end to standard output.
///
/// # Errors
/// The output is closed or full.
pub fn print(text: impl AsRef<str>) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{}", text.as_ref())?;
    out.flush()
}

/// Writes `value` as one line of JSON to standard output.
///
/// # Errors
/// The output is closed or full.
pub fn print_json(value: &impl Serialize) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    serde_json::to_writer(&mut out, value)?;
    writeln!(out)?;
    out.flush()
}

/// The text without anything that a terminal would obey: control characters appear
/// as escapes. A file may be named so as to recolour or rewrite the screen.
pub fn printable(text: &str) -> Cow<'_, str> {
    let plain = |c: char| !c.is_control() || c == '\n';
    if text.chars().all(plain) {
        return text.into();
    }
    let mut safe = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if plain(c) {
            safe.push(c);
        } else {
            safe.extend(c.escape_default());
        }
    }
    safe.into()
}

/// `1 photo`, `2 photos`, `12,345 photos`.
pub fn count(n: u64, noun: &str) -> String {
    let digits = n.to_string();
    let mut grouped = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    format!("{grouped} {noun}{}", if n == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_cannot_write_over_the_screen() {
        assert_eq!(printable("a\u{1b}[2Jb\r.jpg"), "a\\u{1b}[2Jb\\r.jpg");
        assert_eq!(printable("قطة 猫 🐈"), "قطة 猫 🐈");
    }

    #[test]
    fn counts_read_as_people_write_them() {
        assert_eq!(count(0, "photo"), "0 photos");
        assert_eq!(count(1, "photo"), "1 photo");
        assert_eq!(count(999, "file"), "999 files");
        assert_eq!(count(1234567, "file"), "1,234,567 files");
    }
}
