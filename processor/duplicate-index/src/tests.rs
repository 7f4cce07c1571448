use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};

use super::*;

/// What is within the radius, found the plain way.
fn brute_force(codes: &[u64], queries: &[u64], radius: u32) -> Vec<Hit> {
    let mut hits = Vec::new();
    for (query, wanted) in queries.iter().enumerate() {
        for (position, code) in codes.iter().enumerate() {
            let distance = (code ^ wanted).count_ones();
            if distance <= radius {
                hits.push(Hit {
                    query,
                    position: position as u32,
                    distance,
                });
            }
        }
    }
    hits
}

fn found(index: &Index, queries: &[u64], radius: u32) -> Vec<Hit> {
    let mut hits = Vec::new();
    index.within(queries, radius, |hit| hits.push(hit));
    hits.sort();
    hits
}

/// Codes as photos have them: some uniform, many near others, many the same, and a share
/// that agrees in whole bands, as pictures of sky do.
fn photos(dice: &mut StdRng, num: usize) -> Vec<u64> {
    let mut codes: Vec<u64> = Vec::with_capacity(num);
    for _ in 0..num {
        let code = match dice.random_range(0..8) {
            0..4 => dice.random(),
            4 => 0xffff_0000_ffff_0000 | dice.random::<u64>() & 0xffff,
            _ if codes.is_empty() => 0,
            5 => codes[dice.random_range(0..codes.len())],
            _ => {
                let code = codes[dice.random_range(0..codes.len())];
                near(dice, code, 12)
            }
        };
        codes.push(code);
    }
    codes
}

fn near(dice: &mut StdRng, code: u64, max_flips: u32) -> u64 {
    (0..dice.random_range(0..=max_flips))
        .fold(code, |code, _| code ^ 1u64 << dice.random_range(0..64))
}

#[test]
fn every_code_within_the_radius_is_found_once_and_no_other() {
    let mut dice = StdRng::seed_from_u64(1);
    let mut num_hits = 0;
    // Around the size of a segment, and with one merged segment, a single one and a tail.
    for num in [0, 1, 63, 64, 5_000, SEGMENT_CODES, SEGMENT_CODES * 9 + 777] {
        let codes = photos(&mut dice, num);
        let mut queries: Vec<u64> = (0..6).map(|_| dice.random()).collect();
        if num > 0 {
            queries.extend((0..10).map(|_| near(&mut dice, codes[num * 7 / 8], 9)));
            queries.push(codes[0]);
        }
        let mut pushed = Index::default();
        for (n, code) in codes.iter().enumerate() {
            assert_eq!(pushed.push(*code), Some(n as u32));
        }
        let built = Index::from_codes(codes.clone());
        for radius in [0, 3, 4, 7, 8, 11, 12, 20] {
            let expected = brute_force(&codes, &queries, radius);
            assert_eq!(found(&pushed, &queries, radius), expected, "{num} {radius}");
            assert_eq!(found(&built, &queries, radius), expected, "{num} {radius}");
            num_hits += expected.len();
        }
    }
    assert!(
        num_hits > 1_000,
        "only {num_hits} hits: the test shows nothing"
    );
}

#[test]
fn the_tables_of_a_segment_agree_with_brute_force_at_every_radius_they_serve() {
    let mut dice = StdRng::seed_from_u64(2);
    let codes = photos(&mut dice, 3_000);
    let segment = Segment::new(40, &codes);
    for radius in 0..12 {
        for _ in 0..20 {
            let code = codes[dice.random_range(0..codes.len())];
            let query = near(&mut dice, code, radius);
            let mut hits = Vec::new();
            segment.within(query, radius, |position, distance| {
                hits.push(Hit {
                    query: 0,
                    position: position - 40,
                    distance,
                });
            });
            hits.sort();
            assert_eq!(hits, brute_force(&codes, &[query], radius));
        }
    }
}

#[test]
fn pushing_and_building_make_the_same_segments() {
    let codes: Vec<u64> = (0..SEGMENT_CODES as u64 * 17).collect();
    let built = Index::from_codes(codes.clone());
    let mut pushed = Index::default();
    codes.iter().for_each(|code| {
        pushed.push(*code);
    });
    let sizes = |index: &Index| index.segments.iter().map(Segment::len).collect::<Vec<_>>();
    assert_eq!(sizes(&built), sizes(&pushed));
    assert_eq!(
        sizes(&built),
        [SEGMENT_CODES * 8, SEGMENT_CODES * 8, SEGMENT_CODES]
    );
}
