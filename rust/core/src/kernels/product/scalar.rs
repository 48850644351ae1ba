//! The plain product, over the layout of step 4.

use super::{Block, TILE};

pub(super) fn products(block: Block<'_>, out: &mut [i32]) {
    let (n, rows) = (block.n(), block.rows);
    out.fill(0);
    for (tile, lines) in block.lines.chunks_exact(block.steps).enumerate() {
        for (line, queries) in lines.iter().zip(block.queries.chunks_exact(4 * n)) {
            for (query, out) in queries.as_chunks::<4>().0.iter().zip(out.chunks_exact_mut(rows)) {
                let out = &mut out[tile * TILE..][..TILE];
                for (row, out) in line.0.as_chunks::<4>().0.iter().zip(out) {
                    let terms = query.iter().zip(row).map(|(&q, &l)| i32::from(q) * i32::from(l));
                    *out += terms.sum::<i32>();
                }
            }
        }
    }
}
