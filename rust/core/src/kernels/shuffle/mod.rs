//! Permutation of the coordinates of rows, between the rounds of a rotation (docs/numerics.md section 4).
//!
//! What it costs is one load and one store of four bytes a coordinate, and processors that guard against data sampling take as long for each
//! element of a gather. So four rows are interleaved first: a load then brings a coordinate of all four. Nothing is computed.

#[cfg(target_arch = "x86_64")]
mod avx2;

use super::Level;

/// Rows that are interleaved.
const QUAD: usize = 4;

/// A permutation: coordinate i comes from coordinate `source[i]`.
#[derive(Debug, Clone)]
pub(crate) struct Order {
    source: Vec<u32>,
}

impl Order {
    /// # Panics
    /// If `source` is no permutation of its indices; kernels load without another check.
    pub(crate) fn new(source: Vec<u32>) -> Self {
        let mut seen = vec![false; source.len()];
        source.iter().for_each(|&from| seen[from as usize] = true);
        assert!(seen.iter().all(|&seen| seen), "every coordinate comes from another one");
        Self { source }
    }

    pub(crate) fn source(&self) -> &[u32] {
        &self.source
    }
}

/// Puts the coordinates of every row in order: row[i] ← row[source[i]]. `spare` is overwritten.
///
/// # Panics
/// If `rows` is not whole rows of the permutation's length.
pub(crate) fn shuffle(level: Level, order: &Order, rows: &mut [f32], spare: &mut Vec<f32>) {
    let m = order.source.len();
    assert!(rows.len().is_multiple_of(m), "whole rows");
    spare.resize(spare.len().max(QUAD * m), 0.0);
    let whole = match level {
        #[cfg(target_arch = "x86_64")]
        Level::Avx2(token) | Level::AvxVnni(token, _) => avx2::shuffle(token, order, rows, spare),
        #[cfg(target_arch = "x86_64")]
        Level::Avx512(token) | Level::Avx512Vnni(token, _) | Level::Amx(token, ..) => {
            avx2::shuffle(token.into(), order, rows, spare)
        }
        _ => 0,
    };
    for row in rows[whole * m..].chunks_exact_mut(m) {
        spare[..m].copy_from_slice(row);
        row.iter_mut().zip(&order.source).for_each(|(out, &from)| *out = spare[from as usize]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::testing::{floats, other_levels};
    use crate::rng::permutation;

    #[test]
    fn every_level_puts_coordinates_in_order() {
        for level in other_levels().into_iter().chain([Level::Scalar]) {
            for m in (1..=40).chain([97, 200]) {
                for rows in [0, 1, 3, 4, 5, 8, 11] {
                    let (order, x) = (Order::new(permutation(m as u64, m)), floats(rows * m, 7));
                    let (mut got, mut spare) = (x.clone(), vec![9.0]);
                    shuffle(level, &order, &mut got, &mut spare);
                    let expected = x.chunks(m).flat_map(|row| order.source().iter().map(|&from| row[from as usize]));
                    let same = got.iter().zip(expected).all(|(got, expected)| got.to_bits() == expected.to_bits());
                    assert!(same, "{}: {rows} rows of {m}", level.name());
                }
            }
        }
    }

    #[test]
    #[should_panic(expected = "every coordinate comes from another one")]
    fn a_list_with_a_coordinate_twice_is_no_permutation() {
        Order::new(vec![0, 2, 2]);
    }
}
