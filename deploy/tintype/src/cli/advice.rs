//! What a person can do about each verdict. A reason comes in, one sentence goes out.

use schemas::Reason;

/// What to do about a photo that was not accepted for this reason.
pub fn advice(reason: Reason) -> &'static str {
    match reason {
        Reason::ExactDuplicate | Reason::PixelDuplicate => {
            "Nothing to do: the dataset has this photo."
        }
        Reason::NearDuplicate => {
            "Nothing to do, or make the dataset with --near-duplicates group to keep such copies."
        }
        Reason::UnknownLabel => "Correct the label, or add it to the dataset's labels.",
        Reason::ImplausibleLabel => {
            "Correct the label if it is wrong, or lower the dataset's min_label_score_percent."
        }
        Reason::Dark | Reason::Light => {
            "Take it again in better light, or make the dataset with --quality keep."
        }
        Reason::Blurry => "Take it again and hold still, or make the dataset with --quality keep.",
        Reason::LowInformation => {
            "Take it again with something in view, or make the dataset with --quality keep."
        }
        Reason::Empty => "The file has no bytes: copy it again from where it came.",
        Reason::NotAnImage => "This is no photo: leave it out.",
        Reason::UnsupportedFormat => {
            "Convert it to JPEG, PNG or WebP, or run a server that reads this format."
        }
        Reason::Truncated => "The end is missing: copy it again from where it came.",
        Reason::Corrupt => "It is damaged: copy it again from where it came.",
        Reason::TooManyPixels => "Make it smaller and send that.",
        Reason::TooSmall => "Send the photo itself, not its thumbnail.",
        Reason::Animated => "Send one frame of it.",
        Reason::ExtremeAspectRatio => "Cut out the part that matters.",
        Reason::DecodeDeadline | Reason::DecodeMemory => {
            "No honest photo is as costly to open: save it again as a plain JPEG."
        }
        Reason::DecoderFailure => {
            "Save it again as a plain JPEG, and please report the file: this should not happen."
        }
        Reason::OriginalDamaged => {
            "The stored copy is damaged: check the server's disk, then send it again."
        }
    }
}
