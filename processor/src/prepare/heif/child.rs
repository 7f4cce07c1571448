//! The process that decodes one HEIF and ends. Its parent writes the file to its standard
//! input and reads the picture, or the refusal, from its standard output; a crash, a
//! memory limit or the deadline end the child alone, and the parent makes a verdict of it.
//!
//! Child, in: the whole file. Out: one line of JSON, then EXIF, profile and pixels.

use std::io::{self, BufRead, Read as _, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rlimit::Resource;
use schemas::Reason;
use serde::{Deserialize, Serialize};

use super::{Bounds, Decoded, MAX_EXIF_BYTES, decode};
use crate::prepare::Refusal;
use picture::Pixels;
use picture::limits::Deadline;

/// The command that the executable must answer with [`run`].
pub const COMMAND: &str = "decode-heif";

/// The memory of the child, in bytes of address space. 64 megapixels with ten bits and
/// alpha take about 700 MiB; larger lets one hostile file push the others out of memory.
const MAX_CHILD_BYTES: u64 = 1 << 30;

/// The first line that the child answers.
#[derive(Debug, Serialize, Deserialize)]
enum Answer {
    Picture {
        width: u32,
        height: u32,
        exif_bytes: Option<usize>,
        profile_bytes: Option<usize>,
    },
    Refused {
        reason: String,
        detail: String,
    },
}

/// The child's whole life. `arguments`: the most pixels, the most bytes of a profile, the
/// milliseconds it may live.
///
/// # Errors
/// The arguments are not numbers, or the parent is gone.
pub fn run(arguments: &[String]) -> io::Result<()> {
    let number = |at: usize| arguments.get(at).and_then(|text| text.parse::<u64>().ok());
    let (Some(max_pixels), Some(max_profile_bytes), Some(millis)) =
        (number(0), number(1), number(2))
    else {
        let words = format!("usage: {COMMAND} PIXELS PROFILE_BYTES MILLISECONDS");
        return Err(io::Error::new(io::ErrorKind::InvalidInput, words));
    };
    let bounds = Bounds {
        max_pixels,
        max_profile_bytes: usize::try_from(max_profile_bytes).unwrap_or(usize::MAX),
    };
    rlimit::setrlimit(Resource::AS, MAX_CHILD_BYTES, MAX_CHILD_BYTES)?;
    rlimit::setrlimit(Resource::CORE, 0, 0)?;
    std::thread::Builder::new()
        .stack_size(64 << 10)
        .spawn(move || {
            std::thread::sleep(Duration::from_millis(millis));
            // Whatever the decoder is at, it is not asked.
            std::process::abort();
        })?;
    let mut file = Vec::new();
    io::stdin().lock().read_to_end(&mut file)?;
    answer(decode(&file, bounds), &mut io::stdout().lock())
}

fn answer(result: Result<Decoded, Refusal>, out: &mut impl Write) -> io::Result<()> {
    let (answer, parts) = match result {
        Ok(decoded) => {
            let answer = Answer::Picture {
                width: decoded.pixels.width,
                height: decoded.pixels.height,
                exif_bytes: decoded.exif.as_ref().map(Vec::len),
                profile_bytes: decoded.profile.as_ref().map(Vec::len),
            };
            let parts = [
                decoded.exif.unwrap_or_default(),
                decoded.profile.unwrap_or_default(),
                decoded.pixels.rgb,
            ];
            (answer, parts)
        }
        Err(refusal) => {
            let answer = Answer::Refused {
                reason: refusal.reason.to_string(),
                detail: refusal.detail,
            };
            (answer, Default::default())
        }
    };
    let mut line = serde_json::to_vec(&answer)?;
    line.push(b'\n');
    out.write_all(&line)?;
    parts.iter().try_for_each(|part| out.write_all(part))?;
    out.flush()
}

/// Decodes in a child process of `program`; blocks until it has ended, which is at the
/// deadline at the latest.
pub(in crate::prepare) fn decode_beside(
    program: &Path,
    bytes: &[u8],
    bounds: Bounds,
    deadline: Deadline,
) -> Result<Decoded, Refusal> {
    let child = Command::new(program)
        .arg(COMMAND)
        .arg(bounds.max_pixels.to_string())
        .arg(bounds.max_profile_bytes.to_string())
        .arg(deadline.left().as_millis().max(1).to_string())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn();
    let mut child = child.map_err(|error| {
        let words = format!("the HEIF decoder's process cannot be started: {error}");
        Refusal::new(Reason::DecoderFailure, words)
    })?;
    let told = talk(&mut child, bytes, bounds);
    // Told all or broken off: either way nothing more is wanted of it.
    let _ = child.kill();
    let ended = child.wait();
    match told {
        Ok(result) => result,
        Err(_) if deadline.is_over() => Err(deadline.refusal()),
        Err(error) => {
            tracing::debug!(%error, ?ended, "the HEIF decoder's process broke off");
            let words =
                "the decoder broke off on this file; it may be damaged, or made to break it";
            Err(Refusal::new(Reason::DecoderFailure, words))
        }
    }
}

fn talk(child: &mut Child, bytes: &[u8], bounds: Bounds) -> io::Result<Result<Decoded, Refusal>> {
    let gone = || io::Error::from(io::ErrorKind::BrokenPipe);
    // The child answers nothing before it has read everything, so neither waits for the other.
    child.stdin.take().ok_or_else(gone)?.write_all(bytes)?;
    let mut out = io::BufReader::with_capacity(64 << 10, child.stdout.take().ok_or_else(gone)?);
    hear(&mut out, bounds)
}

/// What the child says is not trusted either: a hostile file may speak through it.
fn hear(out: &mut impl BufRead, bounds: Bounds) -> io::Result<Result<Decoded, Refusal>> {
    const MAX_LINE_BYTES: u64 = 4096;
    let mut line = Vec::new();
    out.by_ref()
        .take(MAX_LINE_BYTES)
        .read_until(b'\n', &mut line)?;
    let mut part = |length: usize, most: usize| {
        if length > most {
            return Err(io::Error::other("the child says more than it may"));
        }
        let mut bytes = vec![0; length];
        out.read_exact(&mut bytes).map(|()| bytes)
    };
    match serde_json::from_slice(&line)? {
        Answer::Refused { reason, detail } => {
            let reason = Reason::from_name(&reason).unwrap_or(Reason::DecoderFailure);
            Ok(Err(Refusal::new(reason, detail)))
        }
        Answer::Picture {
            width,
            height,
            exif_bytes,
            profile_bytes,
        } => {
            if let Err(refusal) = bounds.check(width, height) {
                return Ok(Err(refusal));
            }
            let exif = exif_bytes.map(|length| part(length, MAX_EXIF_BYTES));
            let exif = exif.transpose()?;
            let profile = profile_bytes.map(|length| part(length, bounds.max_profile_bytes));
            let profile = profile.transpose()?;
            let rgb = part(width as usize * height as usize * 3, usize::MAX)?;
            Ok(Ok(Decoded {
                pixels: Pixels { width, height, rgb },
                exif,
                profile,
            }))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDS: Bounds = Bounds {
        max_pixels: 1000,
        max_profile_bytes: 10,
    };

    fn decoded() -> Decoded {
        Decoded {
            pixels: Pixels {
                width: 4,
                height: 2,
                rgb: (0..24).collect(),
            },
            exif: Some(b"II*\0".to_vec()),
            profile: None,
        }
    }

    #[test]
    fn what_the_child_answers_is_what_the_parent_hears() {
        for told in [
            Ok(decoded()),
            Err(Refusal::new(Reason::Truncated, "cut\n\"here\"")),
        ] {
            let expected = match &told {
                Ok(_) => Ok(decoded()),
                Err(refusal) => Err(refusal.clone()),
            };
            let mut wire = Vec::new();
            answer(told, &mut wire).unwrap();
            assert_eq!(hear(&mut wire.as_slice(), BOUNDS).unwrap(), expected);
        }
    }

    #[test]
    fn a_child_that_breaks_off_or_lies_is_an_error_and_never_a_picture() {
        let mut wire = Vec::new();
        answer(Ok(decoded()), &mut wire).unwrap();
        for end in 0..wire.len() {
            assert!(hear(&mut &wire[..end], BOUNDS).is_err(), "cut at {end}");
        }
        let picture = |size: u32, exif: &str| {
            format!(
                "{{\"Picture\":{{\"width\":{size},\"height\":{size},\"exif_bytes\":{exif},\"profile_bytes\":null}}}}"
            )
        };
        let huge = picture(100_000, "null");
        let refused = hear(&mut huge.as_bytes(), BOUNDS).unwrap().unwrap_err();
        assert_eq!(refused.reason, Reason::TooManyPixels);
        let exif = picture(1, "99999999999");
        assert!(hear(&mut exif.as_bytes(), BOUNDS).is_err());
    }

    #[test]
    fn a_program_that_is_no_decoder_is_a_failure_and_not_the_end() {
        for program in ["/bin/true", "/bin/cat", "/nowhere"] {
            let deadline = Deadline::after(Duration::from_secs(5));
            let refused =
                decode_beside(Path::new(program), &[1; 1 << 20], BOUNDS, deadline).unwrap_err();
            assert_eq!(refused.reason, Reason::DecoderFailure, "{program}");
        }
    }
}
