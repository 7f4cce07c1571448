//! A canvas in linear light, the few tools that the scenes are drawn with, and a
//! small camera: what a scene has painted comes in, a photo with a lens's shading,
//! a sensor's grain and a tone curve goes out. Equal seeds give equal photos.

use image::RgbImage;
use rand::Rng as _;
use rand::rngs::StdRng;

/// A colour in linear light: red, green, blue; 1 is white.
pub type Colour = [f32; 3];

/// A picture that is being painted. `y` runs from 0 at the top to 1, `x` from 0 to
/// the aspect ratio.
pub struct Canvas {
    width: u32,
    height: u32,
    pixels: Vec<Colour>,
}

impl Canvas {
    /// A black canvas.
    pub fn new(width: u32, height: u32) -> Self {
        let pixels = vec![[0.0; 3]; (width * height) as usize];
        Self {
            width,
            height,
            pixels,
        }
    }

    /// Width over height.
    pub fn aspect(&self) -> f32 {
        self.width as f32 / self.height as f32
    }

    /// Paints over the whole canvas: `brush` gives a colour and how far it covers,
    /// 0 to 1.
    pub fn paint(&mut self, brush: impl Fn(f32, f32) -> (Colour, f32)) {
        let scale = 1.0 / self.height as f32;
        let rows = self.pixels.chunks_exact_mut(self.width as usize);
        for (row, line) in rows.enumerate() {
            let y = (row as f32 + 0.5) * scale;
            for (column, pixel) in line.iter_mut().enumerate() {
                let x = (column as f32 + 0.5) * scale;
                let (colour, cover) = brush(x, y);
                if cover > 0.0 {
                    *pixel = mix(*pixel, colour, cover.min(1.0));
                }
            }
        }
    }

    /// Takes the photo: exposure, white balance, the lens's dark corners, grain and
    /// a tone curve, all a little different each time.
    pub fn develop(&self, rng: &mut StdRng) -> RgbImage {
        let exposure: f32 = rng.random_range(0.85..1.2);
        let warmth: f32 = rng.random_range(-0.08..0.08);
        let balance = [1.0 + warmth, 1.0, 1.0 - warmth].map(|gain| gain * exposure);
        let vignette: f32 = rng.random_range(0.15..0.4);
        let grain: f32 = rng.random_range(0.004..0.012);
        let (w, h) = (self.width as f32, self.height as f32);
        RgbImage::from_fn(self.width, self.height, |column, row| {
            let (dx, dy) = (column as f32 / w - 0.5, row as f32 / h - 0.5);
            let shade = 1.0 - vignette * 2.0 * (dx * dx + dy * dy);
            let light = self.pixels[(row * self.width + column) as usize];
            let mut values = [0; 3];
            for (value, (light, gain)) in values.iter_mut().zip(light.iter().zip(balance)) {
                // Two uniform draws are near enough to a bell curve.
                let noise = rng.random::<f32>() + rng.random::<f32>() - 1.0;
                let signal = (light * gain * shade).max(0.0);
                let noisy = signal + noise * grain * (0.3 + signal.sqrt());
                *value = (tone(noisy) * 255.0).round() as u8;
            }
            image::Rgb(values)
        })
    }
}

/// A camera's curve: sRGB's gamma, a shoulder instead of a hard white.
fn tone(light: f32) -> f32 {
    let rolled = light.clamp(0.0, 4.0);
    let rolled = rolled * (1.0 + rolled / 9.0) / (1.0 + rolled * 0.35);
    rolled.powf(1.0 / 2.2).clamp(0.0, 1.0)
}

/// From `a` to `b`.
pub fn mix(a: Colour, b: Colour, t: f32) -> Colour {
    [0, 1, 2].map(|i| a[i] + (b[i] - a[i]) * t)
}

/// The colour, brighter or darker.
pub fn lit(colour: Colour, light: f32) -> Colour {
    colour.map(|channel| channel * light)
}

/// 0 below `low`, 1 above `high`, smooth between; `low` may be the larger.
pub fn step(low: f32, high: f32, value: f32) -> f32 {
    let t = ((value - low) / (high - low)).clamp(0.0, 1.0);
    t * t * (3.0 - 2.0 * t)
}

/// A colour of this hue (0 to 1), saturation and value.
pub fn hue(hue: f32, saturation: f32, value: f32) -> Colour {
    [0.0, 2.0 / 3.0, 1.0 / 3.0].map(|offset| {
        let t = (hue + offset).rem_euclid(1.0) * 6.0;
        let full = ((t - 3.0).abs() - 1.0).clamp(0.0, 1.0);
        value * (1.0 - saturation * (1.0 - full))
    })
}

/// A number from 0 to 1 for each point of a grid.
fn lattice(x: i32, y: i32, seed: u32) -> f32 {
    let mut n = seed
        .wrapping_add((x as u32).wrapping_mul(0x9E37_79B1))
        .wrapping_add((y as u32).wrapping_mul(0x85EB_CA77));
    for factor in [0x2C1B_3C6D, 0x297A_2D39] {
        n = (n ^ (n >> 15)).wrapping_mul(factor);
    }
    (n >> 8) as f32 / (1 << 24) as f32
}

/// Smooth noise, 0 to 1, one bump a unit.
pub fn noise(x: f32, y: f32, seed: u32) -> f32 {
    let (x0, y0) = (x.floor(), y.floor());
    let (tx, ty) = (step(0.0, 1.0, x - x0), step(0.0, 1.0, y - y0));
    let (x0, y0) = (x0 as i32, y0 as i32);
    let at = |dx, dy| lattice(x0 + dx, y0 + dy, seed);
    let top = at(0, 0) + (at(1, 0) - at(0, 0)) * tx;
    let low = at(0, 1) + (at(1, 1) - at(0, 1)) * tx;
    top + (low - top) * ty
}

/// Noise with finer noise on top, 0 to 1: clouds, rock, grass.
pub fn rough(x: f32, y: f32, seed: u32) -> f32 {
    let (mut sum, mut scale, mut weight) = (0.0, 1.0, 0.5);
    for octave in 0..5 {
        sum += weight * noise(x * scale, y * scale, seed.wrapping_add(octave));
        scale *= 2.03;
        weight *= 0.5;
    }
    sum
}
