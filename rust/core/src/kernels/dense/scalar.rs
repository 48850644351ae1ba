//! Plain dense products.

pub(super) fn products(rows: &[i16], matrix: &[i16], width: usize, out: &mut [i32]) {
    let k = matrix.len() / width;
    for (row, out) in rows.chunks_exact(width).zip(out.chunks_exact_mut(k.max(1))) {
        for (other, out) in matrix.chunks_exact(width).zip(out) {
            *out = row.iter().zip(other).map(|(&a, &b)| i32::from(a) * i32::from(b)).sum();
        }
    }
}
