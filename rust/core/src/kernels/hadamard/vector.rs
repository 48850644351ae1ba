//! The vectorised transform, generic over a register type, so that instruction sets share one algorithm.
//!
//! Everything here is `inline(always)` and carries no target feature: it is compiled inside the caller's feature set.

use super::{Direction, scalar};

/// A register of `LANES` float32 values.
pub(super) trait Vector: Copy {
    const LANES: usize;

    /// # Safety
    /// `from` is readable for `LANES` values, and the processor has the instruction set of `Self`.
    unsafe fn load(from: *const f32) -> Self;

    /// # Safety
    /// `to` is writable for `LANES` values, and the processor has the instruction set of `Self`.
    unsafe fn store(self, to: *mut f32);

    /// # Safety
    /// The processor has the instruction set of `Self`; so for the operations below.
    unsafe fn add(self, other: Self) -> Self;

    /// # Safety
    /// As for `add`.
    unsafe fn sub(self, other: Self) -> Self;

    /// # Safety
    /// As for `add`.
    unsafe fn mul(self, other: Self) -> Self;

    /// The stages with strides 1, 2, … , `LANES`/2.
    ///
    /// # Safety
    /// As for `add`.
    unsafe fn inner_stages(self) -> Self;
}

/// Transforms one block of each row.
///
/// # Safety
/// The processor has the instruction set of `V`. Lengths were checked by the caller: blocks lie inside rows.
#[inline(always)]
pub(super) unsafe fn transform<V: Vector>(
    direction: Direction,
    rows: &mut [f32],
    stride: usize,
    offset: usize,
    factors: &[f32],
) {
    let p = factors.len();
    for row in rows.chunks_exact_mut(stride) {
        let block = &mut row[offset..offset + p];
        if p < V::LANES {
            scalar::block(direction, block, factors);
            continue;
        }
        let (at, factors) = (block.as_mut_ptr(), factors.as_ptr());
        if p < 8 * V::LANES {
            // SAFETY: p, a power of two, is one, two or four registers; `at` and `factors` hold p values each.
            unsafe {
                match p / V::LANES {
                    1 => short::<V, 1>(direction, at, factors),
                    2 => short::<V, 2>(direction, at, factors),
                    _ => short::<V, 4>(direction, at, factors),
                }
            }
            continue;
        }
        // SAFETY: p is a power of two of at least 8 registers; `at` and `factors` hold p values each.
        unsafe {
            first_stages::<V>(direction, at, factors, p);
            outer_stages::<V>(at, p);
            if direction == Direction::Inverse {
                for i in (0..p).step_by(V::LANES) {
                    V::load(at.add(i)).mul(V::load(factors.add(i))).store(at.add(i));
                }
            }
        }
    }
}

/// A whole block of `N` registers.
///
/// # Safety
/// `at` and `factors` hold `N`·LANES values; the processor has the instruction set of `V`.
#[inline(always)]
unsafe fn short<V: Vector, const N: usize>(direction: Direction, at: *mut f32, factors: *const f32) {
    // SAFETY: i < N in every load and store.
    unsafe {
        let factor = |i: usize| V::load(factors.add(i * V::LANES));
        let mut v: [V; N] = std::array::from_fn(|i| {
            let value = V::load(at.add(i * V::LANES));
            let value = if direction == Direction::Forward { value.mul(factor(i)) } else { value };
            value.inner_stages()
        });
        let mut half = 1;
        while half < N {
            for i in (0..N).filter(|i| i & half == 0) {
                let (a, b) = (v[i], v[i + half]);
                (v[i], v[i + half]) = (a.add(b), a.sub(b));
            }
            half *= 2;
        }
        for (i, value) in v.into_iter().enumerate() {
            let value = if direction == Direction::Inverse { value.mul(factor(i)) } else { value };
            value.store(at.add(i * V::LANES));
        }
    }
}

/// Factors (forward only) and the stages below stride 8·LANES, eight registers at a time.
///
/// # Safety
/// `at` and `factors` hold `p` values, a multiple of 8·LANES; the processor has the instruction set of `V`.
#[inline(always)]
unsafe fn first_stages<V: Vector>(direction: Direction, at: *mut f32, factors: *const f32, p: usize) {
    for start in (0..p).step_by(8 * V::LANES) {
        // SAFETY: start + 8·LANES ≤ p.
        unsafe {
            let mut v: [V; 8] = std::array::from_fn(|i| {
                let place = start + i * V::LANES;
                let value = V::load(at.add(place));
                let value =
                    if direction == Direction::Forward { value.mul(V::load(factors.add(place))) } else { value };
                value.inner_stages()
            });
            for half in [1, 2, 4] {
                for i in 0..8 {
                    if i & half == 0 {
                        (v[i], v[i + half]) = (v[i].add(v[i + half]), v[i].sub(v[i + half]));
                    }
                }
            }
            for (i, value) in v.into_iter().enumerate() {
                value.store(at.add(start + i * V::LANES));
            }
        }
    }
}

/// The stages with strides 8·LANES and up, two at a time while two are left.
///
/// # Safety
/// `at` holds `p` values, a power of two of at least 8·LANES; the processor has the instruction set of `V`.
#[inline(always)]
unsafe fn outer_stages<V: Vector>(at: *mut f32, p: usize) {
    let mut half = 8 * V::LANES;
    while 4 * half <= p {
        for start in (0..p).step_by(4 * half) {
            for i in (start..start + half).step_by(V::LANES) {
                // SAFETY: i + 3·half + LANES ≤ start + 4·half ≤ p.
                unsafe {
                    let [a, b, c, d]: [V; 4] = std::array::from_fn(|j| V::load(at.add(i + j * half)));
                    let (a, b, c, d) = (a.add(b), a.sub(b), c.add(d), c.sub(d));
                    for (j, value) in [a.add(c), b.add(d), a.sub(c), b.sub(d)].into_iter().enumerate() {
                        value.store(at.add(i + j * half));
                    }
                }
            }
        }
        half *= 4;
    }
    if half < p {
        for i in (0..half).step_by(V::LANES) {
            // SAFETY: here 2·half = p, so i + half + LANES ≤ p.
            unsafe {
                let (a, b) = (V::load(at.add(i)), V::load(at.add(i + half)));
                a.add(b).store(at.add(i));
                a.sub(b).store(at.add(i + half));
            }
        }
    }
}
