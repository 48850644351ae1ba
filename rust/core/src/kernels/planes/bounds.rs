//! From a row's sum to the upper end of its score (docs/numerics.md section 12).

/// What turns a query's sums into upper ends.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Weights {
    /// The sum that stands for an estimate of 0.
    pub(crate) offset: i32,
    pub(crate) factor: f32,
    pub(crate) deviation: f32,
    /// What a codec's center adds to every score.
    pub(crate) center: f32,
}

impl Weights {
    /// The upper end of one row's score; `bounds` holds its ratio in the low half and its spread in the high one.
    #[inline(always)]
    pub(crate) fn upper_end(self, sum: u32, bounds: u32, scale: f32) -> f32 {
        let estimate = (self.factor * (sum as i32 - self.offset) as f32) * (bounds & 0xFFFF) as i32 as f32;
        (estimate + self.deviation * (bounds >> 16) as i32 as f32) * scale + self.center
    }

    /// The upper end of a row's score where the plane is its whole code: a row of either sign lies within the deviation of its estimate.
    #[inline(always)]
    pub(crate) fn upper_end_of_whole(self, sum: u32, scale: f32) -> f32 {
        (self.factor * (sum as i32 - self.offset) as f32 + self.deviation.copysign(scale)) * scale
    }
}
