//! Where everything of a frame lies: blocks, MCUs, and the samples in the planes.
//!
//! The frame header and the scale come in; sizes and strides go out. All
//! components' samples share one buffer of planes, each padded to whole MCUs.

use crate::header::{Coding, FrameStart};
use crate::{Error, Scale};

/// One component's place in the frame. Blocks are 8x8 coefficients, samples
/// are those of the output plane.
#[derive(Clone)]
pub(crate) struct Component {
    pub id: u8,
    /// Number of the quantisation table.
    pub quantisation: usize,
    /// Blocks across and down in one MCU.
    pub horizontal: usize,
    pub vertical: usize,
    /// Blocks that the picture covers: what a scan of this component alone has.
    pub blocks_wide: usize,
    pub blocks_high: usize,
    /// Blocks across with the last MCU full: what a row of the plane has.
    pub padded_wide: usize,
    pub padded_high: usize,
    /// Samples along the side of a block: 1, 2 or 4.
    pub side: usize,
    /// Samples that the picture covers.
    pub width: usize,
    pub height: usize,
    /// Samples between rows of the plane.
    pub stride: usize,
    /// Where the plane starts in the buffer of all planes.
    pub plane: usize,
    /// Number of the component's first block, counting all components' blocks.
    pub first_block: usize,
}

impl Component {
    pub fn num_blocks(&self) -> usize {
        self.padded_wide * self.padded_high
    }

    /// Where the samples of a block start in the buffer of all planes.
    pub fn sample(&self, block_x: usize, block_y: usize) -> usize {
        self.plane + (block_y * self.stride + block_x) * self.side
    }

    /// Where the kept coefficients of a block start in the buffer of all of them,
    /// which has as many for each block as the block has samples.
    pub fn coefficients(&self, block_x: usize, block_y: usize) -> usize {
        self.plane + (block_y * self.padded_wide + block_x) * self.side * self.side
    }

    fn num_samples(&self) -> usize {
        self.num_blocks() * self.side * self.side
    }
}

/// The geometry of a frame at one scale.
pub(crate) struct Frame {
    /// Output size in pixels.
    pub width: usize,
    pub height: usize,
    pub coding: Coding,
    pub mcus_wide: usize,
    pub mcus_high: usize,
    /// The largest sampling factors times the scale's samples per block: what a
    /// component's `horizontal * side` is when it needs no upsampling.
    pub full_horizontal: usize,
    pub full_vertical: usize,
    /// One or three.
    pub components: Vec<Component>,
}

impl Frame {
    /// Lays out a frame that has passed [`crate::header::check_supported`].
    pub fn lay_out(start: &FrameStart, scale: Scale) -> Self {
        let listed = &start.components[..start.num_components.into()];
        // The factors of a lone component mean nothing: its MCU is one block.
        let alone = listed.len() == 1;
        let factors: Vec<(usize, usize)> = listed
            .iter()
            .map(|component| match component.sampling {
                _ if alone => (1, 1),
                sampling => (sampling.horizontal.into(), sampling.vertical.into()),
            })
            .collect();
        let max_horizontal = factors.iter().map(|factor| factor.0).max().unwrap_or(1);
        let max_vertical = factors.iter().map(|factor| factor.1).max().unwrap_or(1);
        let (width, height) = (usize::from(start.width), usize::from(start.height));
        let mcus_wide = width.div_ceil(8 * max_horizontal);
        let mcus_high = height.div_ceil(8 * max_vertical);
        let full_horizontal = max_horizontal * scale.block_side();
        let full_vertical = max_vertical * scale.block_side();

        let (mut plane, mut first_block) = (0, 0);
        let mut components = Vec::with_capacity(listed.len());
        for (component, &(horizontal, vertical)) in listed.iter().zip(&factors) {
            let mut side = scale.block_side();
            if keeps_colour_detail(scale) {
                while side < MAX_SIDE
                    && full_horizontal.is_multiple_of(horizontal * side * 2)
                    && full_vertical.is_multiple_of(vertical * side * 2)
                {
                    side *= 2;
                }
            }
            let padded_wide = mcus_wide * horizontal;
            let component = Component {
                id: component.id,
                quantisation: component.quantisation,
                horizontal,
                vertical,
                blocks_wide: (width * horizontal).div_ceil(8 * max_horizontal),
                blocks_high: (height * vertical).div_ceil(8 * max_vertical),
                padded_wide,
                padded_high: mcus_high * vertical,
                side,
                width: (width * horizontal * side).div_ceil(8 * max_horizontal),
                height: (height * vertical * side).div_ceil(8 * max_vertical),
                stride: padded_wide * side,
                plane,
                first_block,
            };
            plane += component.num_samples();
            first_block += component.num_blocks();
            components.push(component);
        }
        let pixels = |length: u16| scale.apply(length) as usize;
        Self {
            width: pixels(start.width),
            height: pixels(start.height),
            coding: start.coding,
            mcus_wide,
            mcus_high,
            full_horizontal,
            full_vertical,
            components,
        }
    }

    /// Whether a component has as many samples as the picture has pixels.
    pub fn needs_no_upsampling(&self, component: &Component) -> bool {
        component.horizontal * component.side == self.full_horizontal
            && component.vertical * component.side == self.full_vertical
    }

    /// Samples of all planes together.
    pub fn num_samples(&self) -> usize {
        self.components.iter().map(Component::num_samples).sum()
    }

    /// Blocks of all components together.
    pub fn num_blocks(&self) -> usize {
        self.components.iter().map(Component::num_blocks).sum()
    }

    /// Which components a scan with these ids has, in the frame's order.
    pub fn find(&self, id: u8) -> Option<usize> {
        self.components
            .iter()
            .position(|component| component.id == id)
    }
}

/// Largest number of samples along the side of a block: the largest inverse
/// transform there is. Larger needs one of 8 points.
const MAX_SIDE: usize = 4;

/// Whether colour components of lower resolution give more samples per block,
/// so that they need no upsampling. Not at 1/8: a progressive file would need
/// its AC scans for that, which cost thirty times what all else does, and a file
/// shall give the same pixels whether its coefficients come in scans or not.
fn keeps_colour_detail(scale: Scale) -> bool {
    scale != Scale::Eighth
}

/// Blocks that an MCU may have at most, by the standard; more would break the
/// bound on the bits of one MCU.
pub(crate) const MAX_BLOCKS_IN_MCU: usize = 10;

/// Refuses an interleaved scan whose MCU has more blocks than allowed.
pub(crate) fn check_mcu_size(blocks_in_mcu: usize, offset: usize) -> Result<(), Error> {
    if blocks_in_mcu > MAX_BLOCKS_IN_MCU {
        return Err(Error::Corrupt {
            offset,
            what: "an MCU of more than ten blocks",
        });
    }
    Ok(())
}
