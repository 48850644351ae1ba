//! The codebooks of PolarQuant's angles by cosine and sine (docs/numerics-papers.md section 6).

use std::f32::consts::FRAC_1_SQRT_2;

/// Little-endian float32, made by `turboquant_rs.reference.make_tables`, whose module `polar_angles` says what lies where.
static TABLE: &[u8] = include_bytes!("polar_angles.bin");
/// Floats of one level.
const PER_LEVEL: usize = 1_004;

/// Boundaries and centroids in [0, π/2], ascending in the angle.
#[derive(Debug, Clone)]
pub(super) struct Angles {
    /// (cos, sin) of the 2^bits − 1 boundaries.
    pub(super) bounds: Vec<(f32, f32)>,
    /// (cos, sin) of the 2^bits centroids.
    pub(super) centroids: Vec<(f32, f32)>,
}

impl Angles {
    /// The codebook of `bits` bits of `level`, counted from 1; no bits are one centroid at π/4.
    pub(super) fn new(level: usize, bits: u32) -> Self {
        let diagonal = (FRAC_1_SQRT_2, FRAC_1_SQRT_2);
        if bits == 0 {
            return Self { bounds: Vec::new(), centroids: vec![diagonal] };
        }
        let half = 1_usize << (bits - 1);
        // The widths before this one take 2·(2^bits' − 1) floats each.
        let start = (level - 1) * PER_LEVEL + 2 * (2 * half - 1 - bits as usize);
        let float = |at: usize| {
            let bytes = &TABLE[4 * (start + at)..][..4];
            f32::from_le_bytes(bytes.try_into().expect("four bytes"))
        };
        let run = |from: usize, count: usize| -> Vec<(f32, f32)> {
            (0..count).map(|i| (float(from + i), float(from + count + i))).collect()
        };
        let mirrored =
            |half: &[(f32, f32)]| -> Vec<(f32, f32)> { half.iter().rev().map(|&(cos, sin)| (sin, cos)).collect() };
        let (bounds, centroids) = (run(0, half - 1), run(2 * (half - 1), half));
        Self {
            bounds: [&bounds[..], &[diagonal], &mirrored(&bounds)].concat(),
            centroids: [&centroids[..], &mirrored(&centroids)].concat(),
        }
    }

    /// The number of boundaries below the angle of (a, b), both at least 0; a tie goes to the lower code.
    #[inline]
    pub(super) fn code(&self, a: f32, b: f32) -> u8 {
        self.bounds.iter().map(|&(cos, sin)| u8::from(b * cos > a * sin)).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_whole_and_ascending() {
        assert_eq!(TABLE.len(), 4 * 16 * PER_LEVEL);
        for level in 1..=16 {
            for bits in 0..=8 {
                let angles = Angles::new(level, bits);
                let (bounds, centroids) = (angles.bounds, angles.centroids);
                assert_eq!((bounds.len() + 1, centroids.len()), (1 << bits, 1 << bits));
                let angle = |&(cos, sin): &(f32, f32)| f64::from(sin).atan2(f64::from(cos));
                for (i, bound) in bounds.iter().enumerate() {
                    assert!(angle(&centroids[i]) < angle(bound) && angle(bound) < angle(&centroids[i + 1]));
                }
            }
        }
    }
}
