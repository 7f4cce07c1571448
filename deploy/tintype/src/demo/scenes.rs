//! What the demo's photos show: four classes, each drawn with so many free choices
//! (place, size, light, colours, pattern) that no two photos are near-duplicates,
//! and with textures, so that none is a flat.

use std::f32::consts::{PI, TAU};

use rand::Rng as _;
use rand::rngs::StdRng;

use super::canvas::{Canvas, Colour, hue, lit, mix, noise, rough, step};

/// A class and how a photo of it is drawn.
pub type Scene = (&'static str, fn(&mut Canvas, &mut StdRng));

/// The classes.
pub const SCENES: [Scene; 4] = [
    ("ball", ball),
    ("flower", flower),
    ("house", house),
    ("mountain", mountain),
];

/// A ball on a wooden floor before a wall.
fn ball(canvas: &mut Canvas, rng: &mut StdRng) {
    let aspect = canvas.aspect();
    let seed: u32 = rng.random();
    let edge: f32 = rng.random_range(0.3..0.65);
    let (wall, wood) = (
        hue(rng.random(), 0.35, rng.random_range(0.25..0.8)),
        hue(
            rng.random_range(0.04..0.11),
            0.6,
            rng.random_range(0.2..0.5),
        ),
    );
    let stripes: f32 = rng.random_range(2.0..9.0);
    let tilt: f32 = rng.random_range(-1.2..1.2);
    let lamp = (rng.random_range(0.0..aspect), rng.random_range(-0.2..0.4));
    canvas.paint(|x, y| {
        let band = step(-0.2, 0.2, ((x + tilt * y) * stripes * PI).sin());
        let glow = 1.5 - ((x - lamp.0).powi(2) + (y - lamp.1).powi(2)).sqrt();
        let stain = 0.8 + 0.4 * rough(x * 3.0, y * 3.0, seed);
        (lit(wall, (0.5 + 0.5 * band) * glow.max(0.25) * stain), 1.0)
    });
    let boards: f32 = rng.random_range(5.0..11.0);
    let vanishing: f32 = rng.random_range(0.0..aspect);
    canvas.paint(|x, y| {
        let depth = (y - edge).max(1e-3);
        let across = (x - vanishing) / (depth + 0.25) * boards * 0.3;
        let grain = rough(across * 9.0, 1.5 / (depth + 0.1), seed + 7);
        let gap = step(0.0, 0.08, across.rem_euclid(1.0));
        let tint = 0.7 + 0.5 * noise(across.floor(), 0.5, seed + 9);
        (
            lit(wood, tint * gap * (0.5 + grain)),
            step(0.0, 0.004, y - edge),
        )
    });
    let radius: f32 = rng.random_range(0.13..0.34);
    let cx: f32 = rng.random_range(radius..aspect - radius);
    let cy: f32 = rng.random_range((edge - radius * 0.6)..(0.98 - radius).max(edge));
    let light = (
        rng.random_range(-0.8f32..0.8),
        rng.random_range(-0.9f32..-0.3),
        0.6f32,
    );
    let length = (light.0 * light.0 + light.1 * light.1 + light.2 * light.2).sqrt();
    let paint = [
        hue(rng.random(), 0.85, 0.75),
        hue(rng.random(), 0.6, 0.9),
        [0.85, 0.85, 0.8],
    ];
    let (turn, bands) = (rng.random_range(0.0..PI), rng.random_range(2.0..6.0f32));
    let spotted: bool = rng.random();
    canvas.paint(|x, y| {
        let dx = (x - cx + light.0 * radius * 0.7) / (radius * 1.2);
        let dy = (y - cy - radius * 0.95) / (radius * 0.3);
        ([0.01, 0.01, 0.01], 0.75 * step(1.0, 0.3, dx * dx + dy * dy))
    });
    canvas.paint(|x, y| {
        let (dx, dy) = ((x - cx) / radius, (y - cy) / radius);
        let inside = 1.0 - dx * dx - dy * dy;
        if inside <= 0.0 {
            return ([0.0; 3], 0.0);
        }
        let dz = inside.sqrt();
        let (u, v) = (
            dx * turn.cos() + dy * turn.sin(),
            dy * turn.cos() - dx * turn.sin(),
        );
        let pattern = if spotted {
            noise(u * bands, v * bands + dz, seed + 3) * 3.0
        } else {
            ((v + 0.3 * dz).asin() / PI * 2.0 * bands).rem_euclid(3.0)
        };
        let base = paint[(pattern as usize).min(2)];
        let facing = (dx * light.0 + dy * light.1 + dz * light.2) / length;
        let shine = facing.max(0.0).powi(40) * 1.5;
        let shaded = lit(base, 0.12 + 0.95 * facing.max(0.0));
        let leather = 0.9 + 0.2 * rough(u * 20.0, v * 20.0, seed + 5);
        (
            mix(lit(shaded, leather), [2.0; 3], shine.min(0.7)),
            step(0.0, 0.03, inside),
        )
    });
}

/// A flower before a garden that is out of focus.
fn flower(canvas: &mut Canvas, rng: &mut StdRng) {
    let aspect = canvas.aspect();
    let seed: u32 = rng.random();
    let greens = [
        hue(
            rng.random_range(0.2..0.45),
            0.7,
            rng.random_range(0.05..0.2),
        ),
        hue(rng.random_range(0.15..0.4), 0.6, rng.random_range(0.3..0.7)),
    ];
    let coarse: f32 = rng.random_range(1.0..3.5);
    let slope: f32 = rng.random_range(-0.6..0.6);
    canvas.paint(|x, y| {
        let blot = rough(x * coarse, y * coarse, seed) + slope * (y - 0.5);
        let blade = rough(x * 26.0, y * 5.0, seed + 4);
        (
            lit(mix(greens[0], greens[1], blot), 0.75 + 0.5 * blade),
            1.0,
        )
    });
    for _ in 0..rng.random_range(4..14) {
        let (bx, by) = (rng.random_range(0.0..aspect), rng.random_range(0.0..1.0));
        let size: f32 = rng.random_range(0.04..0.16);
        let colour = hue(rng.random(), 0.5, rng.random_range(0.4..1.2));
        canvas.paint(|x, y| {
            let r = ((x - bx).powi(2) + (y - by).powi(2)).sqrt() / size;
            (colour, 0.45 * step(1.0, 0.85, r))
        });
    }
    for _ in 0..rng.random_range(1..4) {
        blossom(canvas, rng, seed);
    }
}

fn blossom(canvas: &mut Canvas, rng: &mut StdRng, seed: u32) {
    let aspect = canvas.aspect();
    let size: f32 = rng.random_range(0.16..0.42);
    let (cx, cy): (f32, f32) = (
        rng.random_range(0.15 * aspect..0.85 * aspect),
        rng.random_range(0.2..0.7),
    );
    let lean: f32 = rng.random_range(-0.5..0.5);
    let stem = hue(0.28, 0.7, rng.random_range(0.15..0.4));
    canvas.paint(|x, y| {
        let path = cx + lean * (y - cy).powi(2) * 2.0;
        let side = (x - path) / 0.018;
        let cover = step(1.0, 0.8, side.abs()) * step(cy, cy + 0.01, y);
        (lit(stem, 1.0 - 0.6 * side.abs()), cover)
    });
    let num_petals = rng.random_range(5..14) as f32;
    let turn: f32 = rng.random_range(0.0..TAU);
    let pointed: f32 = rng.random_range(0.35..1.6);
    let squash: f32 = rng.random_range(0.65..1.0);
    let tint: f32 = rng.random();
    let (inner, outer) = (
        hue(tint, rng.random_range(0.3..0.9), 1.0),
        hue(
            tint + rng.random_range(-0.12..0.12),
            rng.random_range(0.5..0.95),
            rng.random_range(0.5..0.95),
        ),
    );
    let eye = hue(
        rng.random_range(0.06..0.17),
        0.85,
        rng.random_range(0.25..0.9),
    );
    let eye_size: f32 = rng.random_range(0.18..0.36);
    canvas.paint(|x, y| {
        let (dx, dy) = ((x - cx) / size, (y - cy) / (size * squash));
        let (r, angle) = (dx.hypot(dy), dy.atan2(dx) + turn);
        let along = (angle * num_petals / TAU).rem_euclid(1.0) - 0.5;
        let reach = 0.35 + 0.65 * (along * PI).cos().powf(pointed);
        let vein = 0.85 + 0.3 * noise(along * 40.0, r * 2.0, seed + 11);
        let fold = 1.0 - 0.7 * (along * 2.0).abs().powi(3);
        let light = (0.7 - 0.35 * dy) * vein * fold;
        (
            lit(mix(inner, outer, r), light),
            step(reach, reach - 0.03, r),
        )
    });
    canvas.paint(|x, y| {
        let (dx, dy) = ((x - cx) / size, (y - cy) / (size * squash));
        let r = dx.hypot(dy) / eye_size;
        let seeds = noise(dx * 60.0, dy * 60.0, seed + 13);
        (lit(eye, 0.4 + 0.9 * seeds - 0.3 * dy), step(1.0, 0.9, r))
    });
}

/// A house in its street.
fn house(canvas: &mut Canvas, rng: &mut StdRng) {
    let aspect = canvas.aspect();
    let seed: u32 = rng.random();
    let ground: f32 = rng.random_range(0.68..0.92);
    let (zenith, haze) = (
        hue(
            rng.random_range(0.52..0.66),
            0.6,
            rng.random_range(0.2..0.9),
        ),
        hue(rng.random_range(0.05..0.6), 0.2, rng.random_range(0.6..1.1)),
    );
    let cloudy: f32 = rng.random_range(0.35..0.6);
    canvas.paint(|x, y| {
        let cloud = step(cloudy, cloudy + 0.2, rough(x * 2.5, y * 5.0, seed));
        (
            mix(mix(zenith, haze, y / ground), [0.95; 3], cloud * 0.8),
            1.0,
        )
    });
    let street = hue(
        rng.random_range(0.05..0.35),
        rng.random_range(0.05..0.6),
        0.3,
    );
    canvas.paint(|x, y| {
        let stones = rough(x * 30.0, y * 60.0, seed + 2);
        (lit(street, 0.4 + stones), step(0.0, 0.003, y - ground))
    });
    let wide: f32 = rng.random_range(0.35..0.85) * aspect.min(1.2);
    let left: f32 = rng.random_range(0.02..(aspect - wide - 0.02).max(0.03));
    let top: f32 = rng.random_range(0.22..0.48);
    let base = ground + rng.random_range(0.0..0.04);
    let wall = hue(
        rng.random(),
        rng.random_range(0.1..0.6),
        rng.random_range(0.3..0.85),
    );
    let courses: f32 = rng.random_range(18.0..40.0);
    let sun: f32 = rng.random_range(-0.6..0.6);
    canvas.paint(|x, y| {
        let (u, v) = ((x - left) / wide, (y - top) / (base - top));
        let inside = (0.0..=1.0).contains(&u) && (0.0..=1.0).contains(&v);
        let row = (v * courses).floor();
        let joint_y = step(0.0, 0.12, (v * courses).rem_euclid(1.0));
        let brick = u * courses * 0.6 + row * 0.5;
        let joint_x = step(0.0, 0.06, brick.rem_euclid(1.0));
        let tint = 0.75 + 0.4 * noise(brick.floor() + 0.5, row + 0.5, seed + 3);
        let light = (0.75 + sun * (u - 0.5)) * tint * (0.7 + 0.3 * joint_x * joint_y);
        (lit(wall, light), f32::from(inside))
    });
    roof(canvas, rng, seed, (left, wide, top));
    windows(canvas, rng, seed, (left, wide, top, base));
}

fn roof(canvas: &mut Canvas, rng: &mut StdRng, seed: u32, (left, wide, top): (f32, f32, f32)) {
    let tiles = hue(
        rng.random_range(-0.03..0.08),
        0.65,
        rng.random_range(0.12..0.45),
    );
    let high = rng.random_range(0.06f32..0.24).min(top - 0.02);
    let ridge: f32 = rng.random_range(0.25..0.75);
    let eaves: f32 = rng.random_range(0.02..0.06);
    canvas.paint(|x, y| {
        let u = (x - left + eaves) / (wide + 2.0 * eaves);
        let slope = if u < ridge {
            u / ridge
        } else {
            (1.0 - u) / (1.0 - ridge)
        };
        let inside = (0.0..=1.0).contains(&u) && y < top && y > top - high * slope;
        let wave = 0.6 + 0.4 * ((x * 120.0).sin() * 0.5 + 0.5);
        let row = step(0.0, 0.3, (y * 70.0).rem_euclid(1.0));
        let moss = 0.7 + 0.6 * rough(x * 8.0, y * 8.0, seed + 5);
        (
            lit(tiles, wave * moss * (0.6 + 0.4 * row)),
            f32::from(inside),
        )
    });
}

fn windows(
    canvas: &mut Canvas,
    rng: &mut StdRng,
    seed: u32,
    (left, wide, top, base): (f32, f32, f32, f32),
) {
    let (columns, rows) = (rng.random_range(2..6) as f32, rng.random_range(1..5) as f32);
    let (pane_w, pane_h) = (rng.random_range(0.4..0.72), rng.random_range(0.45..0.75));
    let door = rng.random_range(0.0..columns).floor();
    let frame: Colour = lit([0.9, 0.88, 0.82], rng.random_range(0.3..1.0));
    let wood = hue(rng.random(), 0.7, rng.random_range(0.1..0.4));
    canvas.paint(|x, y| {
        let (u, v) = ((x - left) / wide * columns, (y - top) / (base - top) * rows);
        if !(0.0..columns).contains(&u) || !(0.0..rows).contains(&v) {
            return ([0.0; 3], 0.0);
        }
        let (column, row) = (u.floor(), v.floor());
        let is_door = row == rows - 1.0 && column == door;
        let (du, dv) = ((u - column - 0.5).abs() * 2.0, v - row);
        let (low, high) = if is_door {
            (0.2, 1.0)
        } else {
            ((1.0 - pane_h) * 0.5, (1.0 + pane_h) * 0.5)
        };
        if du > pane_w || dv < low || dv > high {
            return ([0.0; 3], 0.0);
        }
        if is_door {
            let board = 0.6 + 0.6 * noise(u * 30.0, v * 2.0, seed + 6);
            return (lit(wood, board), 1.0);
        }
        let edge = du > pane_w - 0.12 || dv < low + 0.05 || dv > high - 0.05 || du < 0.05;
        if edge {
            return (frame, 1.0);
        }
        let lamp = noise(column + 0.5, row + 0.5, seed + 8);
        let glass = if lamp > 0.7 {
            [0.95, 0.7, 0.3]
        } else {
            lit(
                [0.12, 0.17, 0.24],
                0.4 + 2.0 * rough(u * 2.0, v * 3.0, seed + 9),
            )
        };
        (glass, 1.0)
    });
}

/// Mountains over a lake.
fn mountain(canvas: &mut Canvas, rng: &mut StdRng) {
    let aspect = canvas.aspect();
    let seed: u32 = rng.random();
    let shore: f32 = rng.random_range(0.6..0.92);
    let evening: f32 = rng.random();
    let sky = [
        mix([0.12, 0.3, 0.75], [0.12, 0.1, 0.3], evening),
        mix([0.7, 0.85, 1.0], [1.1, 0.5, 0.2], evening),
    ];
    let sun = (rng.random_range(0.0..aspect), rng.random_range(0.05..0.5));
    let disc: f32 = rng.random_range(0.02..0.07);
    canvas.paint(|x, y| {
        let far = ((x - sun.0).powi(2) + (y - sun.1).powi(2)).sqrt();
        let veil = step(0.45, 0.75, rough(x * 2.0, y * 6.0, seed));
        let colour = mix(mix(sky[0], sky[1], y / shore), [0.9; 3], veil * 0.5);
        let glow = 0.6 * (-far * 5.0).exp() + 3.0 * step(disc, disc * 0.8, far);
        (
            [0, 1, 2].map(|i| colour[i] + glow * [1.0, 0.85, 0.6][i]),
            1.0,
        )
    });
    let num_ridges = rng.random_range(2..5);
    let ground = hue(
        rng.random_range(0.1..0.65),
        0.4,
        rng.random_range(0.1..0.35),
    );
    let snow: f32 = rng.random_range(0.1..0.5);
    for ridge in 0..num_ridges {
        let near = (ridge + 1) as f32 / num_ridges as f32;
        let peak: f32 = rng.random_range(0.12..0.42) * (1.3 - near);
        let crest = shore - 0.1 - 0.45 * (1.0 - near);
        let (coarse, shift) = (rng.random_range(0.8..2.8), rng.random_range(0.0..50.0));
        let own = seed.wrapping_add(ridge * 31);
        let colour = mix(sky[1], ground, 0.35 + 0.65 * near);
        canvas.paint(|x, y| {
            let height = rough(x * coarse + shift, 0.5, own) - 0.4;
            let skyline = crest - peak * height * 2.2;
            let depth = y - skyline;
            let rock = rough(x * 14.0, y * 14.0 + depth * 8.0, own + 3);
            let white = step(snow, 0.0, depth / peak + rock * 0.5) * (1.0 - near * 0.8);
            let face = lit(colour, 0.35 + 1.1 * rock);
            (mix(face, [0.95, 0.97, 1.0], white), step(0.0, 0.004, depth))
        });
    }
    let water = mix(sky[0], sky[1], 0.4);
    let waves: f32 = rng.random_range(20.0..60.0);
    canvas.paint(|x, y| {
        let depth = (y - shore).max(0.0);
        let ripple = rough(x * 6.0, depth * waves / (0.3 + depth), seed + 17);
        let path = (-((x - sun.0) * 5.0).powi(2)).exp() * step(0.5, 0.7, ripple);
        let colour = lit(water, 0.35 + 0.6 * ripple);
        (
            [0, 1, 2].map(|i| colour[i] + path * [1.0, 0.8, 0.5][i]),
            step(0.0, 0.003, y - shore),
        )
    });
}
