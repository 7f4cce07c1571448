//! Decodes a scan without restart markers, several stretches of it at once.
//!
//! A scan comes in; samples go out, exactly as if decoded from front to back.
//! Where MCUs start further on is guessed: a decoder that starts at any bit soon
//! falls into step with the true one, mostly within ten MCUs, since Huffman codes
//! resynchronise. Each stretch is decoded on into the next one until both start
//! an MCU at the same bit; from there on they cannot differ.

use crate::Error;
use crate::baseline::{Output, SequentialScan};
use crate::lanes::{CHUNK_MCUS, Lane, Stop, decode_chunk};
use crate::markers::end_of_interval;
use crate::mcu::CodedMcu;
use crate::placing::Placing;

/// Bytes of the file in a stretch, at least and at most. Smaller, and more of it
/// is decoded twice; larger, and the stretches side by side are less alike, so
/// that lanes wait for one another.
const FEWEST_BYTES: usize = 4 * 1024;
const MOST_BYTES: usize = 32 * 1024;

/// MCUs that a stretch may take to fall into step with the next one: several
/// times the most that was seen. In flat areas, where all codes are alike, it may
/// never do; nor in scans with the same tables for all components.
const MAX_MCUS_OUT_OF_STEP: usize = 200;

/// How often the guess where a stretch starts may lead to bits that are no code,
/// each time a byte further on. Without a limit, data made for it could fail at
/// every byte, and take seconds.
const MAX_GUESSES: usize = 32;

/// MCUs that one lane alone decodes at a time.
const MCUS_ALONE: usize = 128;

/// A stretch being decoded.
#[derive(Default)]
struct Stretch {
    /// Records of the blocks of all MCUs so far, and where the MCUs start, in
    /// bits since the stretch does.
    records: Vec<i16>,
    starts: Vec<usize>,
    /// The first MCU that is known to be one, and the one at which the next
    /// stretch takes over.
    first: usize,
    last: Option<usize>,
    /// The next MCU start of this stretch, and of the following one, to compare.
    compared: (usize, usize),
    num_guesses: usize,
    state: State,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum State {
    #[default]
    Running,
    /// The next stretch has taken over.
    InStep,
    /// There is no MCU behind the last one.
    Stopped(Stop),
}

/// Decodes the scan whose data starts at `start`; the offset behind the data.
/// With one lane the error is the first that the data has.
pub(crate) fn decode_scan(
    jpeg: &[u8],
    start: usize,
    scan: SequentialScan,
    lanes: &mut [Lane],
    output: &mut Output,
) -> Result<usize, Error> {
    let num_mcus = scan.mcus.wide * scan.mcus.high;
    let mut stretches: Vec<Stretch> = lanes.iter().map(|_| Stretch::default()).collect();
    let mut placing = Placing::starting_at(scan, 0);
    let mut num_placed = 0;
    // After a failure there is no guessing for a while; longer after the next.
    let mut guess_from = start;
    let mut pause_bytes = MOST_BYTES;
    lanes[0].open(jpeg, start);
    loop {
        let front = lanes[0].window.next();
        let num_lanes = if front < guess_from { 1 } else { lanes.len() };
        let num_open = open_stretches(jpeg, &mut lanes[..num_lanes]);
        for stretch in &mut stretches {
            stretch.clear();
        }
        let mut group = Group {
            jpeg,
            mcu: scan.coded,
            lanes: &mut lanes[..num_open],
            stretches: &mut stretches[..num_open],
            has_failed: false,
        };
        let num_joined = group.decode();
        if group.has_failed {
            guess_from = lanes[num_joined - 1].window.next() + pause_bytes;
            pause_bytes *= 2;
        } else if num_joined > 1 {
            pause_bytes = MOST_BYTES;
        }
        for stretch in &stretches[..num_joined] {
            let last = stretch.last.unwrap_or(stretch.starts.len());
            let length = scan.coded.length;
            placing.place(
                &stretch.records[stretch.first * length..last * length],
                output,
            );
            num_placed += last - stretch.first;
        }
        lanes.swap(0, num_joined - 1);
        let front = &mut lanes[0];
        front.window.clear_mark();
        if num_placed >= num_mcus {
            let end = front.window.end();
            return Ok(end.unwrap_or_else(|| end_of_interval(jpeg, front.window.next())));
        }
        if let State::Stopped(stop) = stretches[num_joined - 1].state {
            return Err(front.error(jpeg, stop, placing.row()));
        }
    }
}

/// Opens the lanes behind the first one, a stretch apart; the number of lanes
/// that the file is long enough for.
fn open_stretches(jpeg: &[u8], lanes: &mut [Lane]) -> usize {
    let num_lanes = lanes.len();
    let window = &lanes[0].window;
    let ahead = window.filled() - lanes[0].position / 8;
    let left = jpeg.len().saturating_sub(window.next());
    let stretch = (left / num_lanes).clamp(FEWEST_BYTES, MOST_BYTES);
    let mut at = window.next() + stretch.saturating_sub(ahead).max(1);
    for number in 1..num_lanes {
        // Not between an FF and its stuffed zero.
        while at < jpeg.len() && jpeg[at - 1] == 0xff {
            at += 1;
        }
        if lanes[number - 1].window.end().is_some() || at >= jpeg.len() {
            return number;
        }
        lanes[number - 1].window.set_mark(at);
        lanes[number].open(jpeg, at);
        at = (at + stretch).max(lanes[number].window.next() + 1);
    }
    num_lanes
}

/// Stretches that are decoded side by side.
struct Group<'a> {
    jpeg: &'a [u8],
    mcu: &'a CodedMcu<'a>,
    lanes: &'a mut [Lane],
    stretches: &'a mut [Stretch],
    /// Whether two stretches did not fall into step.
    has_failed: bool,
}

impl Group<'_> {
    /// Decodes until each stretch but the last is in step with the next one; the
    /// number of stretches that are.
    fn decode(&mut self) -> usize {
        let mut num_joined = self.lanes.len();
        loop {
            let joined = &self.stretches[..num_joined];
            let (before, last) = joined.split_at(num_joined - 1);
            let last = &last[0];
            let all_in_step = before.iter().all(|stretch| stretch.state == State::InStep);
            let has_moved = last.state != State::Running || !last.starts.is_empty();
            if all_in_step && has_moved {
                return num_joined;
            }
            if let Some((number, stop)) = self.decode_chunk(num_joined) {
                // The first stretch is no guess, nor is one that another has been
                // found to be in step with: its data ends or is damaged.
                let is_guess = number > 0 && self.stretches[number - 1].state != State::InStep;
                let stretch = &mut self.stretches[number];
                if stop == Stop::EndOfData || !is_guess {
                    stretch.state = State::Stopped(stop);
                    num_joined = number + 1;
                } else if stretch.num_guesses == MAX_GUESSES {
                    self.has_failed = true;
                    num_joined = number;
                } else {
                    let num_guesses = stretch.num_guesses + 1;
                    stretch.clear();
                    stretch.num_guesses = num_guesses;
                    self.stretches[number - 1].compared.1 = 0;
                    let position = self.lanes[number].position + 8;
                    self.lanes[number].go_to(self.jpeg, position);
                }
            }
            for number in 0..num_joined - 1 {
                if !self.compare(number) {
                    self.has_failed = true;
                    num_joined = number + 1;
                    break;
                }
            }
        }
    }

    /// Decodes some MCUs of all stretches that are running.
    fn decode_chunk(&mut self, num_joined: usize) -> Option<(usize, Stop)> {
        let mut numbers = Vec::with_capacity(num_joined);
        let mut running = Vec::with_capacity(num_joined);
        for (number, lane) in self.lanes[..num_joined].iter_mut().enumerate() {
            if self.stretches[number].state == State::Running {
                numbers.push(number);
                running.push(lane);
            }
        }
        let num_mcus = match running.len() {
            1 if num_joined == 1 => MCUS_ALONE,
            _ => CHUNK_MCUS,
        };
        let run = decode_chunk(self.jpeg, self.mcu, &mut running, num_mcus);
        for (&number, lane) in numbers.iter().zip(&running) {
            let stretch = &mut self.stretches[number];
            stretch.records.extend_from_slice(&lane.records);
            stretch.starts.extend_from_slice(&lane.starts);
        }
        run.stopped.map(|(index, stop)| (numbers[index], stop))
    }

    /// Looks whether a stretch has fallen into step with the next one; `false` if
    /// that takes too long.
    fn compare(&mut self, number: usize) -> bool {
        let Some(mark) = self.lanes[number].window.mark_bits() else {
            return true;
        };
        let [stretch, next, ..] = &mut self.stretches[number..] else {
            return true;
        };
        if stretch.state == State::InStep {
            return true;
        }
        let (mut here, mut there) = stretch.compared;
        while let Some(&start) = stretch.starts.get(here) {
            if start < mark {
                here += 1;
                continue;
            }
            match next.starts.get(there) {
                Some(&other) if other < start - mark => there += 1,
                Some(&other) if other == start - mark => {
                    stretch.last = Some(here);
                    stretch.state = State::InStep;
                    next.first = there;
                    return true;
                }
                Some(_) => here += 1,
                None => break,
            }
        }
        stretch.compared = (here, there);
        let out_of_step = stretch
            .starts
            .iter()
            .rev()
            .take_while(|&&start| start >= mark);
        out_of_step.take(MAX_MCUS_OUT_OF_STEP).count() < MAX_MCUS_OUT_OF_STEP
    }
}

impl Stretch {
    fn clear(&mut self) {
        self.records.clear();
        self.starts.clear();
        self.first = 0;
        self.last = None;
        self.compared = (0, 0);
        self.num_guesses = 0;
        self.state = State::Running;
    }
}
