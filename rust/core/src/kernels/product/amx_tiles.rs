//! The registers of AMX, by inline assembly: stable Rust has neither the intrinsics nor the target feature.
//!
//! The compiler knows these registers only as clobbered, and uses none itself: no code of this crate is compiled with AMX, so what
//! one block leaves in them the next one finds. Blocks are volatile, so they stay in order.

use std::arch::asm;
use std::marker::PhantomData;

use super::Image;
use super::amx::{Shapes, Tiles};
use crate::kernels::level::Amx;

/// The registers of this thread. Only one value at a time may be in use in a thread.
pub(super) struct Registers {
    /// As they are configured; `None` before.
    shapes: Option<Shapes>,
    /// Configurations belong to a thread.
    of_thread: PhantomData<*mut ()>,
}

impl Registers {
    pub(super) fn new(_: Amx) -> Self {
        Self { shapes: None, of_thread: PhantomData }
    }
}

/// A block of assembly that may change any register of tiles.
macro_rules! tile_asm {
    ($text:literal, [$($operand:tt)*], $($option:ident),*) => {
        asm!(
            $text,
            $($operand)*
            out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
            out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
            options(nostack, preserves_flags, $($option),*)
        )
    };
}

impl Tiles for Registers {
    #[inline(always)]
    fn configure(&mut self, shapes: &Shapes) {
        self.shapes = Some(*shapes);
        // SAFETY: the token of `new` proves AMX and the permission to use it; the 64 bytes are a configuration of palette 1.
        unsafe { tile_asm!("ldtilecfg [{}]", [in(reg) shapes,], readonly) };
    }

    #[inline(always)]
    fn zero<const T: u8>(&mut self) {
        // SAFETY: AMX as above; `products` zeroes what it configured.
        unsafe { tile_asm!("tilezero tmm{}", [const T,], nomem) };
    }

    #[inline(always)]
    fn load<const T: u8>(&mut self, image: &Image) {
        // SAFETY: AMX as above; a configured register has at most 16 rows of 64 bytes, which are the lines of the image.
        unsafe { tile_asm!("tileloadd tmm{}, [{} + 1*{}]", [const T, in(reg) image, in(reg) 64_usize,], readonly) };
    }

    #[inline(always)]
    fn multiply<const SUMS: u8, const QUERIES: u8, const ROWS: u8>(&mut self) {
        // SAFETY: AMX as above; the shapes fit: a row of sums a query, 64 bytes a query, a row a dword of these, a dword of sums a row's dword.
        unsafe { tile_asm!("tdpbssd tmm{}, tmm{}, tmm{}", [const SUMS, const QUERIES, const ROWS,], nomem) };
    }

    #[inline(always)]
    fn store<const T: u8>(&self, out: &mut [i32], stride: usize) {
        let rows = self.shapes.map_or(0, |shapes| shapes.rows(usize::from(T)));
        assert!(rows > 0 && stride >= 16 && out.len() >= (rows - 1) * stride + 16, "room for the rows");
        let (to, bytes) = (out.as_mut_ptr(), size_of::<i32>() * stride);
        // SAFETY: AMX as above; the register has `rows` rows of 16 dwords, and the slice that many places at each multiple of the stride.
        unsafe {
            asm!("tilestored [{} + 1*{}], tmm{}", in(reg) to, in(reg) bytes, const T, options(nostack, preserves_flags));
        }
    }
}

impl Drop for Registers {
    #[inline(always)]
    fn drop(&mut self) {
        // SAFETY: AMX as above. Registers that are in their first state are not saved when threads change, and nobody else finds ours.
        unsafe { tile_asm!("tilerelease", [], nomem) };
    }
}
