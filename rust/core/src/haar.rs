//! Haar-random orthogonal matrices by Householder reflections, in a written order (docs/numerics-papers.md section 2).
//!
//! A random unit vector as the first column, an independent Haar matrix of one dimension less in its complement (Stewart 1980),
//! put there by one reflection; from one dimension up. Float64, no fused multiply-add: every machine makes the same matrix.

use crate::normals::normals;

/// Columns that are worked on together: their reflections know nothing of other columns, and so few stay in a second-level cache.
const STRIP: usize = 32;

/// The symmetric orthogonal matrix −s·(I − τvvᵀ) that sends e₁ to x/|x|.
struct Reflection {
    v: Vec<f64>,
    tau: f64,
    s: f64,
}

/// A Haar-random orthogonal matrix of dim·dim values, row-major, from the stream `key`. 4/3·dim³ products and as many sums.
pub(crate) fn haar(dim: usize, key: u64) -> Vec<f64> {
    let draws = normals(key, dim * (dim + 1) / 2);
    let mut rest = &draws[..];
    let reflections = (1..=dim).map(|j| {
        let (x, later) = rest.split_at(j);
        rest = later;
        Reflection::new(x)
    });
    let reflections: Vec<_> = reflections.collect();
    let mut q = vec![0.0; dim * dim];
    let mut w = Vec::with_capacity(STRIP);
    for start in (0..dim).step_by(STRIP) {
        let width = STRIP.min(dim - start);
        let mut strip = vec![0.0; dim * width];
        // Column c joins as e₁ with the reflection of dim − c coordinates; the later columns of the strip are there by then.
        for (first, reflection) in (0..start + width).rev().map(|first| (first, &reflections[dim - first - 1])) {
            let joined = first.saturating_sub(start);
            if first >= start {
                strip[first * width + joined] = 1.0;
            }
            reflection.apply(&mut strip[first * width..], width, joined, &mut w);
        }
        for (row, part) in q.chunks_exact_mut(dim).zip(strip.chunks_exact(width)) {
            row[start..start + width].copy_from_slice(part);
        }
    }
    q
}

impl Reflection {
    fn new(x: &[f32]) -> Self {
        let mut v: Vec<f64> = x.iter().map(|&normal| f64::from(normal)).collect();
        let s = if v[0] < 0.0 { -1.0 } else { 1.0 };
        let squares = |v: &[f64]| v[1..].iter().fold(v[0] * v[0], |sum, value| sum + value * value);
        v[0] += s * squares(&v).sqrt();
        let tau = 2.0 / squares(&v);
        Self { v, tau, s }
    }

    /// Reflects the columns from `joined` on of rows of `width`.
    fn apply(&self, rows: &mut [f64], width: usize, joined: usize, w: &mut Vec<f64>) {
        w.clear();
        w.extend(rows[joined..width].iter().map(|value| self.v[0] * value));
        for (row, v) in rows.chunks_exact(width).zip(&self.v).skip(1) {
            for (w, value) in w.iter_mut().zip(&row[joined..]) {
                *w += v * value;
            }
        }
        for (row, v) in rows.chunks_exact_mut(width).zip(&self.v) {
            let factor = self.tau * v;
            for (value, w) in row[joined..].iter_mut().zip(&*w) {
                *value = -self.s * (*value - factor * w);
            }
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
