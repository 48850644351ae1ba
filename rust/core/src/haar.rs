//! Haar-random orthogonal matrices by Householder reflections, in a written order (docs/numerics-papers.md section 2).
//!
//! A random unit vector as the first column, an independent Haar matrix of one dimension less in its complement (Stewart 1980),
//! put there by one reflection; from one dimension up. Float64, no fused multiply-add: every machine makes the same matrix.

use crate::normals::normals;

/// A Haar-random orthogonal matrix of dim·dim values, row-major, from the stream `key`. 4/3·dim³ products and as many sums.
pub(crate) fn haar(dim: usize, key: u64) -> Vec<f64> {
    let draws = normals(key, dim * (dim + 1) / 2);
    let mut q = vec![0.0; dim * dim];
    let (mut used, mut x, mut w) = (0, Vec::new(), Vec::new());
    for j in 1..=dim {
        x.clear();
        x.extend(draws[used..used + j].iter().map(|&normal| f64::from(normal)));
        used += j;
        let first = dim - j;
        q[first * dim + first] = 1.0;
        let rows = q[first * dim..].chunks_exact_mut(dim).map(|row| &mut row[first..]);
        reflect(rows.collect(), &mut x, &mut w);
    }
    q
}

/// Multiplies a block of j rows by the symmetric orthogonal matrix that sends e₁ to x/|x|; `x` becomes the reflection's vector.
fn reflect(mut block: Vec<&mut [f64]>, x: &mut [f64], w: &mut Vec<f64>) {
    let s = if x[0] < 0.0 { -1.0 } else { 1.0 };
    let rest = |start: f64, x: &[f64]| x[1..].iter().fold(start, |sum, value| sum + value * value);
    x[0] += s * rest(x[0] * x[0], x).sqrt();
    let tau = 2.0 / rest(x[0] * x[0], x);
    w.clear();
    w.extend(block[0].iter().map(|value| x[0] * value));
    for (row, v) in block[1..].iter().zip(&x[1..]) {
        for (w, value) in w.iter_mut().zip(&**row) {
            *w += v * value;
        }
    }
    for (row, v) in block.iter_mut().zip(&*x) {
        let factor = tau * v;
        for (value, w) in row.iter_mut().zip(&*w) {
            *value = -s * (*value - factor * w);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_orthonormal() {
        for dim in [1, 2, 3, 17, 64] {
            let q = haar(dim, 9);
            for a in 0..dim {
                for b in 0..dim {
                    let dot: f64 = q[a * dim..][..dim].iter().zip(&q[b * dim..][..dim]).map(|(x, y)| x * y).sum();
                    let want = f64::from(u8::from(a == b));
                    // Each of dim reflections adds a few units of 2^-53.
                    assert!((dot - want).abs() < 1e-15 * (4 + dim) as f64, "dim {dim}, rows {a}, {b}: {dot}");
                }
            }
        }
    }
}
