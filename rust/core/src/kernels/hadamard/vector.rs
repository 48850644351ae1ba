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

/// Transforms one block of each row; `N` registers, 8 or 16, hold the first stages.
///
/// # Safety
/// The processor has the instruction set of `V`. Lengths were checked by the caller: blocks lie inside rows.
#[inline(always)]
pub(super) unsafe fn transform<V: Vector, const N: usize>(
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
        if p < N * V::LANES {
            // SAFETY: p, a power of two, is at most 8 registers; `at` and `factors` hold p values each.
            unsafe {
                match p / V::LANES {
                    1 => short::<V, 1>(direction, at, factors),
                    2 => short::<V, 2>(direction, at, factors),
                    4 => short::<V, 4>(direction, at, factors),
                    _ => short::<V, 8>(direction, at, factors),
                }
            }
            continue;
        }
        // SAFETY: p is a power of two of at least N registers; `at` and `factors` hold p values each.
        unsafe {
            first_stages::<V, N>(direction, at, factors, p);
            outer_stages::<V>(at, N * V::LANES, p);
            if direction == Direction::Inverse {
                for i in (0..p).step_by(V::LANES) {
                    V::load(at.add(i)).mul(V::load(factors.add(i))).store(at.add(i));
                }
            }
        }
    }
}

/// (a, b) ← (a + b, a − b) for pairs of registers. Written out: indices that are constants keep the array in registers.
macro_rules! butterflies {
    ($v:ident: $($a:literal $b:literal),*) => {
        $( ($v[$a], $v[$b]) = ($v[$a].add($v[$b]), $v[$a].sub($v[$b])); )*
    };
}

/// A whole block of `N` ≤ 8 registers.
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
        // Bounds that are constants: the loops unroll, and the array stays in registers.
        for half in [1, 2, 4].into_iter().filter(|&half| half < N) {
            for i in (0..N).filter(|i| i & half == 0) {
                let (a, b) = (v[i], v[i + half]);
                (v[i], v[i + half]) = (a.add(b), a.sub(b));
            }
        }
        for (i, value) in v.into_iter().enumerate() {
            let value = if direction == Direction::Inverse { value.mul(factor(i)) } else { value };
            value.store(at.add(i * V::LANES));
        }
    }
}

/// Factors (forward only) and the stages below stride N·LANES, N registers at a time.
///
/// # Safety
/// `at` and `factors` hold `p` values, a multiple of N·LANES; the processor has the instruction set of `V`.
#[inline(always)]
unsafe fn first_stages<V: Vector, const N: usize>(direction: Direction, at: *mut f32, factors: *const f32, p: usize) {
    for start in (0..p).step_by(N * V::LANES) {
        // SAFETY: start + N·LANES ≤ p.
        unsafe {
            let mut v: [V; N] = std::array::from_fn(|i| {
                let place = start + i * V::LANES;
                let value = V::load(at.add(place));
                let value =
                    if direction == Direction::Forward { value.mul(V::load(factors.add(place))) } else { value };
                value.inner_stages()
            });
            butterflies!(v: 0 1, 2 3, 4 5, 6 7);
            butterflies!(v: 0 2, 1 3, 4 6, 5 7);
            butterflies!(v: 0 4, 1 5, 2 6, 3 7);
            if N == 16 {
                butterflies!(v: 8 9, 10 11, 12 13, 14 15);
                butterflies!(v: 8 10, 9 11, 12 14, 13 15);
                butterflies!(v: 8 12, 9 13, 10 14, 11 15);
                butterflies!(v: 0 8, 1 9, 2 10, 3 11, 4 12, 5 13, 6 14, 7 15);
            }
            for (i, value) in v.into_iter().enumerate() {
                value.store(at.add(start + i * V::LANES));
            }
        }
    }
}

/// The stages with strides `first` and up, two at a time while two are left.
///
/// # Safety
/// `at` holds `p` values, a power of two of at least `first`, itself one of at least LANES; the processor has the instruction set of `V`.
#[inline(always)]
unsafe fn outer_stages<V: Vector>(at: *mut f32, first: usize, p: usize) {
    let mut half = first;
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
