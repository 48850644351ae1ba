//! Asking for memory ahead of its use: no effect on results, only on when they come.

/// How far ahead, in bytes, a stream asks for its next lines: what a memory access takes at a core's bandwidth.
#[cfg(target_arch = "x86_64")]
pub(super) const AHEAD: usize = 1_024;

/// Asks for the cache lines of `values`.
#[inline]
pub(crate) fn prefetch<T>(values: &[T]) {
    // From the start of the first line, so that the last one is among them.
    let before = values.as_ptr().addr() % 64;
    for line in (0..before + size_of_val(values)).step_by(64) {
        let line = values.as_ptr().cast::<u8>().wrapping_sub(before).wrapping_add(line);
        #[cfg(target_arch = "x86_64")]
        // SAFETY: every x86-64 processor has SSE; a prefetch of any address is harmless.
        unsafe {
            use std::arch::x86_64::{_MM_HINT_T1, _mm_prefetch};
            _mm_prefetch::<_MM_HINT_T1>(line.cast());
        }
        #[cfg(target_arch = "aarch64")]
        // SAFETY: a prefetch of any address is harmless.
        unsafe {
            std::arch::asm!("prfm pldl2keep, [{0}]", in(reg) line, options(nostack, readonly, preserves_flags));
        }
        #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
        let _ = line;
    }
}
