//! Normals from a constant table: what stands between a seed and a Gaussian matrix (docs/numerics-papers.md section 1).
//!
//! A normal is a sign and one of 4,096 magnitudes, the means of as many equally likely cells of |N(0, 1)|, so no libm takes part.

use crate::rng::splitmix64;

/// Little-endian float32, ascending; made by `turboquant_rs.reference.make_tables`.
static MAGNITUDES: &[u8] = include_bytes!("normal_magnitudes.bin");
const CELLS: usize = 4_096;

/// The magnitudes, ascending.
fn magnitudes() -> Vec<f32> {
    let floats = MAGNITUDES.as_chunks::<4>().0.iter().map(|&bytes| f32::from_le_bytes(bytes));
    let table: Vec<f32> = floats.collect();
    assert_eq!(table.len(), CELLS, "the shipped table is whole");
    table
}

/// Normals 0 … count−1 of the stream `key`.
pub(crate) fn normals(key: u64, count: usize) -> Vec<f32> {
    let table = magnitudes();
    let mut out = Vec::with_capacity(count.next_multiple_of(4));
    for i in 0..count.div_ceil(4) as u64 {
        let word = splitmix64(key, i);
        out.extend([0, 16, 32, 48].map(|shift| {
            let field = word >> shift;
            let magnitude = table[field as usize & (CELLS - 1)];
            if field >> 15 & 1 == 1 { -magnitude } else { magnitude }
        }));
    }
    out.truncate(count);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_references_first_normals() {
        assert_eq!(normals(0, 3), [-1.458_679_7, 1.025_138_5, -0.696_745_75]);
        assert_eq!(normals(0, 9)[..3], normals(0, 3)[..]);
    }
}
