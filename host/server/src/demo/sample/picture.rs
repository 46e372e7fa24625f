//! What is on the screen: colour bars that fade downwards, the word PATCHBAY, a block that wanders and a bar that
//! fills up. Planar YCbCr 4:2:0, BT.709, limited range, kept as whole 16x16 macroblocks.
//!
//! The still part is drawn once; a frame is that plus two rectangles, so only the macroblocks they touch change.

use super::SampleSpec;

/// One macroblock as I_PCM stores it: 256 luma samples, then 64 Cb, then 64 Cr.
pub(super) type Macroblock = [u8; 384];

pub(super) struct Scene {
    width: u32,
    height: u32,
    frames: u32,
    mbs_across: u32,
    still: Vec<Macroblock>,
}

impl Scene {
    pub(super) fn new(spec: &SampleSpec) -> Self {
        let mbs_across = spec.width.div_ceil(16);
        let mbs_down = spec.height.div_ceil(16);
        let lettering = Lettering::centred(spec.width, spec.height);
        let still = (0..mbs_across * mbs_down)
            .map(|mb| {
                draw(mb % mbs_across * 16, mb / mbs_across * 16, |x, y| {
                    backdrop(spec, &lettering, x, y)
                })
            })
            .collect();
        Self {
            width: spec.width,
            height: spec.height,
            frames: spec.frames(),
            mbs_across,
            still,
        }
    }

    pub(super) fn macroblocks(&self) -> u32 {
        self.still.len() as u32
    }

    /// One macroblock of one frame, and whether it differs from the same place one frame earlier.
    pub(super) fn macroblock(&self, frame: u32, mb: u32) -> (Macroblock, bool) {
        let left = mb % self.mbs_across * 16;
        let top = mb / self.mbs_across * 16;
        let now = self.paint(frame, mb, left, top);
        let changed = frame
            .checked_sub(1)
            .is_none_or(|before| self.moves_at(frame, left, top) && now != self.paint(before, mb, left, top));
        (now, changed)
    }

    fn paint(&self, frame: u32, mb: u32, left: u32, top: u32) -> Macroblock {
        let mut pixels = self.still[mb as usize];
        for (rect, colour) in self.sprites(frame) {
            if rect.touches(left, top) {
                stamp(&mut pixels, left, top, &rect, colour);
            }
        }
        pixels
    }

    fn moves_at(&self, frame: u32, left: u32, top: u32) -> bool {
        self.sprites(frame)
            .into_iter()
            .chain(self.sprites(frame - 1))
            .any(|(rect, _)| rect.touches(left, top))
    }

    fn sprites(&self, frame: u32) -> [(Rect, Rgb); 3] {
        let side = (self.width.min(self.height) / 6) & !1;
        // Whole sweeps in the length of the video, so that it loops without a jump.
        let block = Rect {
            left: sweep(frame * 2, self.frames, self.width - side),
            top: sweep(frame * 4, self.frames, self.height / 3 - side) + ((self.height / 16) & !1),
            width: side,
            height: side,
        };
        let inset = (side / 5) & !1;
        let core = Rect {
            left: block.left + inset,
            top: block.top + inset,
            width: side - 2 * inset,
            height: side - 2 * inset,
        };
        let filled = Rect {
            left: 0,
            top: (self.height - self.height / 40) & !1,
            width: (self.width * (frame + 1) / self.frames) & !1,
            height: self.height,
        };
        [
            (block, Rgb(250, 250, 250)),
            (core, Rgb(230, 60, 80)),
            (filled, Rgb(80, 220, 160)),
        ]
    }
}

#[derive(Clone, Copy)]
struct Rgb(u32, u32, u32);

impl Rgb {
    /// BT.709, limited range, in 16-bit fixed point.
    fn luma(self) -> u8 {
        (16 + ((11966 * self.0 + 40254 * self.1 + 4064 * self.2 + 32768) >> 16)) as u8
    }

    fn chroma(self) -> (u8, u8) {
        let (r, g, b) = (self.0 as i32, self.1 as i32, self.2 as i32);
        let cb = 128 + ((-6596 * r - 22189 * g + 28785 * b + 32768) >> 16);
        let cr = 128 + ((28785 * r - 26145 * g - 2640 * b + 32768) >> 16);
        (cb as u8, cr as u8)
    }
}

/// Even on every side, as chroma has half the resolution.
struct Rect {
    left: u32,
    top: u32,
    width: u32,
    height: u32,
}

impl Rect {
    fn holds(&self, x: u32, y: u32) -> bool {
        x >= self.left && y >= self.top && x - self.left < self.width && y - self.top < self.height
    }

    fn touches(&self, left: u32, top: u32) -> bool {
        left < self.left + self.width && left + 16 > self.left && top < self.top + self.height && top + 16 > self.top
    }
}

fn draw(left: u32, top: u32, colour: impl Fn(u32, u32) -> Rgb) -> Macroblock {
    let mut pixels = [0; 384];
    for y in 0..16 {
        for x in 0..16 {
            let here = colour(left + x, top + y);
            pixels[(y * 16 + x) as usize] = here.luma();
            if x % 2 == 0 && y % 2 == 0 {
                let at = (y / 2 * 8 + x / 2) as usize;
                (pixels[256 + at], pixels[320 + at]) = here.chroma();
            }
        }
    }
    pixels
}

fn stamp(pixels: &mut Macroblock, left: u32, top: u32, rect: &Rect, colour: Rgb) {
    let luma = colour.luma();
    let (cb, cr) = colour.chroma();
    for y in 0..16 {
        for x in 0..16 {
            if rect.holds(left + x, top + y) {
                pixels[(y * 16 + x) as usize] = luma;
                let at = (y / 2 * 8 + x / 2) as usize;
                (pixels[256 + at], pixels[320 + at]) = (cb, cr);
            }
        }
    }
}

fn backdrop(spec: &SampleSpec, lettering: &Lettering, x: u32, y: u32) -> Rgb {
    const BARS: [Rgb; 7] = [
        Rgb(236, 236, 236),
        Rgb(238, 204, 70),
        Rgb(70, 200, 214),
        Rgb(84, 196, 110),
        Rgb(206, 98, 190),
        Rgb(222, 84, 76),
        Rgb(72, 104, 214),
    ];
    // The last macroblocks may reach past the picture; what they hold there is cropped away.
    let (x, y) = (x.min(spec.width - 1), y.min(spec.height - 1));
    if lettering.band.holds(x, y) {
        return if lettering.inked(x, y) {
            Rgb(255, 255, 255)
        } else {
            Rgb(18, 22, 38)
        };
    }
    let Rgb(r, g, b) = BARS[(x * 7 / spec.width) as usize];
    // From full strength at the top to a fifth of it at the bottom.
    let strength = 1000 - 800 * y / spec.height;
    Rgb(r * strength / 1000, g * strength / 1000, b * strength / 1000)
}

/// The word in a five by seven font, as large as fits in nine tenths of the width.
struct Lettering {
    band: Rect,
    left: u32,
    top: u32,
    scale: u32,
}

impl Lettering {
    const COLUMNS: u32 = WORD.len() as u32 * 6 - 1;

    fn centred(width: u32, height: u32) -> Self {
        let scale = (width * 9 / 10 / Self::COLUMNS).clamp(1, (height / 32).max(1));
        let band_height = (scale * 13) & !1;
        let band_top = (height / 2) & !1;
        Self {
            band: Rect {
                left: 0,
                top: band_top,
                width,
                height: band_height,
            },
            left: (width - scale * Self::COLUMNS) / 2,
            top: band_top + (band_height - scale * 7) / 2,
            scale,
        }
    }

    fn inked(&self, x: u32, y: u32) -> bool {
        let (Some(x), Some(y)) = (x.checked_sub(self.left), y.checked_sub(self.top)) else {
            return false;
        };
        let (column, row) = (x / self.scale, y / self.scale);
        column < Self::COLUMNS
            && row < 7
            && column % 6 < 5
            && (WORD[(column / 6) as usize][row as usize] >> (4 - column % 6)) & 1 == 1
    }
}

/// P, A, T, C, H, B, A, Y: seven rows a letter, the leftmost pixel in the highest of five bits.
const WORD: [[u8; 7]; 8] = [
    [0b11110, 0b10001, 0b10001, 0b11110, 0b10000, 0b10000, 0b10000],
    [0b01110, 0b10001, 0b10001, 0b11111, 0b10001, 0b10001, 0b10001],
    [0b11111, 0b00100, 0b00100, 0b00100, 0b00100, 0b00100, 0b00100],
    [0b01110, 0b10001, 0b10000, 0b10000, 0b10000, 0b10001, 0b01110],
    [0b10001, 0b10001, 0b10001, 0b11111, 0b10001, 0b10001, 0b10001],
    [0b11110, 0b10001, 0b10001, 0b11110, 0b10001, 0b10001, 0b11110],
    [0b01110, 0b10001, 0b10001, 0b11111, 0b10001, 0b10001, 0b10001],
    [0b10001, 0b10001, 0b01010, 0b00100, 0b00100, 0b00100, 0b00100],
];

/// There and back again over `range`, once per `period` steps, on even pixels.
fn sweep(step: u32, period: u32, range: u32) -> u32 {
    let at = step % period;
    let half = period.div_ceil(2);
    let distance = if at < half { at } else { period - at };
    (range * distance.min(half) / half) & !1
}
