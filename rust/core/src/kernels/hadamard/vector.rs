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
    /// A stage is swapped + signed: b + a is a + b, and a + (−b) is a − b, to the bit. Where there is a fused multiply-add, it takes the signs
    /// as factors: a product with ±1 is exact, so the sum is rounded once, as the sum alone is.
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
                    1 => run::<V, 1>(direction, at, factors, true),
                    2 => run::<V, 2>(direction, at, factors, true),
                    4 => run::<V, 4>(direction, at, factors, true),
                    _ => run::<V, 8>(direction, at, factors, true),
                }
            }
            continue;
        }
        // SAFETY: p is a power of two of at least N registers; `at` and `factors` hold p values each.
        unsafe {
            for start in (0..p).step_by(N * V::LANES) {
                run::<V, N>(direction, at.add(start), factors.add(start), false);
            }
            outer_stages::<V>(at, N * V::LANES, p);
            if direction == Direction::Inverse {
                for i in (0..p).step_by(V::LANES) {
                    V::load(at.add(i)).mul(V::load(factors.add(i))).store(at.add(i));
                }
            }
        }
    }
}

/// (a, b) ← (a + b, a − b) for pairs of registers. Written out, like all that walks over registers here: indices that are constants keep
/// the array in registers, whatever the optimiser makes of loops and closures.
macro_rules! butterflies {
    ($v:ident: $($a:literal $b:literal),*) => {
        $( ($v[$a], $v[$b]) = ($v[$a].add($v[$b]), $v[$a].sub($v[$b])); )*
    };
}

/// Registers of `$n` from `$at`, with factors (forward only) and their inner stages.
macro_rules! enter {
    ($v:ident, $n:ident, $direction:ident, $at:expr, $factors:expr; $($i:literal)*) => {
        $( if $i < $n {
            let value = V::load($at.add($i * V::LANES));
            let forward = $direction == Direction::Forward;
            $v[$i] = if forward { value.mul(V::load($factors.add($i * V::LANES))) } else { value }.inner_stages();
        } )*
    };
}

/// Registers of `$n` to `$at`, with factors if `$scaled`.
macro_rules! leave {
    ($v:ident, $n:ident, $scaled:expr, $at:expr, $factors:expr; $($i:literal)*) => {
        $( if $i < $n {
            let value = if $scaled { $v[$i].mul(V::load($factors.add($i * V::LANES))) } else { $v[$i] };
            value.store($at.add($i * V::LANES));
        } )*
    };
}

/// `N` ≤ 16 registers side by side: factors (forward only), the stages below stride N·LANES, and for a `whole` block factors (inverse only).
///
/// # Safety
/// `at` and `factors` hold `N`·LANES values; the processor has the instruction set of `V`.
#[inline(always)]
unsafe fn run<V: Vector, const N: usize>(direction: Direction, at: *mut f32, factors: *const f32, whole: bool) {
    // SAFETY: i < N in every load and store.
    unsafe {
        let mut v = [V::load(at); N];
        enter!(v, N, direction, at, factors; 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15);
        if N >= 2 {
            butterflies!(v: 0 1);
        }
        if N >= 4 {
            butterflies!(v: 2 3);
            butterflies!(v: 0 2, 1 3);
        }
        if N >= 8 {
            butterflies!(v: 4 5, 6 7);
            butterflies!(v: 4 6, 5 7);
            butterflies!(v: 0 4, 1 5, 2 6, 3 7);
        }
        if N == 16 {
            butterflies!(v: 8 9, 10 11, 12 13, 14 15);
            butterflies!(v: 8 10, 9 11, 12 14, 13 15);
            butterflies!(v: 8 12, 9 13, 10 14, 11 15);
            butterflies!(v: 0 8, 1 9, 2 10, 3 11, 4 12, 5 13, 6 14, 7 15);
        }
        let scaled = whole && direction == Direction::Inverse;
        leave!(v, N, scaled, at, factors; 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15);
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
                    let place = |j: usize| at.add(i + j * half);
                    let (a, b, c, d) = (V::load(place(0)), V::load(place(1)), V::load(place(2)), V::load(place(3)));
                    let (a, b, c, d) = (a.add(b), a.sub(b), c.add(d), c.sub(d));
                    a.add(c).store(place(0));
                    b.add(d).store(place(1));
                    a.sub(c).store(place(2));
                    b.sub(d).store(place(3));
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
