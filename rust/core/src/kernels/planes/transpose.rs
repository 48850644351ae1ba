//! Blocks of 16 rows from rows and back: bytes change places, nothing else.

use super::{BLOCK, Column};

/// Puts the first bytes of rows of `stride` bytes into a block, from its row `first` on: as many as it has columns.
pub(crate) fn from_rows(rows: &[u8], stride: usize, first: usize, columns: &mut [Column]) {
    assert!(rows.len() / stride + first <= BLOCK && columns.len() <= stride, "rows of one block");
    for (r, row) in (first..).zip(rows.chunks_exact(stride)) {
        for (column, &byte) in columns.iter_mut().zip(row) {
            column[r] = byte;
        }
    }
}

/// Writes the rows of a block, `columns.len()` bytes each, as many as `rows` has room for.
pub(crate) fn to_rows(columns: &[Column], rows: &mut [u8]) {
    let stride = columns.len();
    assert!(rows.len() <= BLOCK * stride, "rows of one block");
    let (eights, rest) = columns.as_chunks::<8>();
    for (i, eight) in eights.iter().enumerate() {
        #[cfg(target_arch = "x86_64")]
        if rows.len() == BLOCK * stride {
            x86::eight_columns(eight, &mut rows[8 * i..], stride);
            continue;
        }
        for (group, rows) in rows.chunks_mut(8 * stride).enumerate() {
            let word = |column: &Column| u64::from_le_bytes(column.as_chunks().0[group]);
            let words = transposed(eight.each_ref().map(word));
            for (row, word) in rows.chunks_exact_mut(stride).zip(words) {
                row[8 * i..8 * i + 8].copy_from_slice(&word.to_le_bytes());
            }
        }
    }
    for (at, column) in (8 * eights.len()..).zip(rest) {
        for (row, &byte) in rows.chunks_exact_mut(stride).zip(column) {
            row[at] = byte;
        }
    }
}

/// The transpose of 8 × 8 bytes: squares of 4, 2 and 1 bytes change sides.
#[inline(always)]
fn transposed(mut words: [u64; 8]) -> [u64; 8] {
    for (step, mask) in [(4, 0x0000_0000_FFFF_FFFF), (2, 0x0000_FFFF_0000_FFFF), (1, 0x00FF_00FF_00FF_00FF)] {
        for i in (0..8).filter(|i| i & step == 0) {
            let (low, high) = (words[i], words[i + step]);
            let shift = 8 * step as u32;
            words[i] = low & mask | (high & mask) << shift;
            words[i + step] = (low >> shift) & mask | high & !mask;
        }
    }
    words
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::*;

    use super::super::{BLOCK, Column};

    /// Writes eight bytes of each row of a block, every `stride` bytes, with instructions that every x86-64 processor has.
    pub(super) fn eight_columns(columns: &[Column; 8], rows: &mut [u8], stride: usize) {
        assert!(rows.len() >= (BLOCK - 1) * stride + 8, "eight bytes a row");
        // SAFETY: SSE2 is part of x86-64; a column has 16 bytes, and eight bytes lie in each of the rows.
        unsafe {
            let a: [__m128i; 8] = std::array::from_fn(|i| _mm_loadu_si128(columns[i].as_ptr().cast()));
            // Pairs, then fours, then eights of bytes of rows 0 … 7 (`low`) and 8 … 15.
            let low: [__m128i; 4] = std::array::from_fn(|i| _mm_unpacklo_epi8(a[2 * i], a[2 * i + 1]));
            let high: [__m128i; 4] = std::array::from_fn(|i| _mm_unpackhi_epi8(a[2 * i], a[2 * i + 1]));
            for (eight, b) in [low, high].into_iter().enumerate() {
                let fours = [
                    (_mm_unpacklo_epi16(b[0], b[1]), _mm_unpacklo_epi16(b[2], b[3])),
                    (_mm_unpackhi_epi16(b[0], b[1]), _mm_unpackhi_epi16(b[2], b[3])),
                ];
                for (four, (left, right)) in fours.into_iter().enumerate() {
                    let pairs = [_mm_unpacklo_epi32(left, right), _mm_unpackhi_epi32(left, right)];
                    for (pair, both) in pairs.into_iter().enumerate() {
                        let row = rows.as_mut_ptr().add((8 * eight + 4 * four + 2 * pair) * stride);
                        _mm_storel_epi64(row.cast(), both);
                        _mm_storel_epi64(row.add(stride).cast(), _mm_unpackhi_epi64(both, both));
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::testing::bytes;

    #[test]
    fn rows_come_back() {
        for stride in (1..=26).chain([48, 97]) {
            for n in [1, 7, 8, 9, 15, 16] {
                let rows = bytes(n * stride, (stride * n) as u64);
                let mut columns = vec![[0; BLOCK]; stride];
                let split = n / 3;
                from_rows(&rows[..split * stride], stride, 0, &mut columns);
                from_rows(&rows[split * stride..], stride, split, &mut columns);
                for (i, &byte) in rows.iter().enumerate() {
                    assert_eq!(columns[i % stride][i / stride], byte);
                }
                let mut back = vec![0; rows.len()];
                to_rows(&columns, &mut back);
                assert_eq!(back, rows, "{n} rows of {stride} bytes");
            }
        }
    }
}
