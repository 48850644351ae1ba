//! Asking for memory ahead of its use: no effect on results, only on when they come.

/// How far ahead, in bytes, a stream asks for its next lines: what a memory access takes at a core's bandwidth.
#[cfg(target_arch = "x86_64")]
pub(super) const AHEAD: usize = 1_024;

/// Asks for the cache lines of `bytes`.
#[inline]
pub(crate) fn prefetch(bytes: &[u8]) {
    for line in bytes.chunks(64) {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: every x86-64 processor has SSE; a prefetch of any address is harmless.
        unsafe {
            use std::arch::x86_64::{_MM_HINT_T1, _mm_prefetch};
            _mm_prefetch::<_MM_HINT_T1>(line.as_ptr().cast());
        }
        #[cfg(target_arch = "aarch64")]
        // SAFETY: a prefetch of any address is harmless.
        unsafe {
            std::arch::asm!("prfm pldl2keep, [{0}]", in(reg) line.as_ptr(), options(nostack, readonly, preserves_flags));
        }
        #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
        let _ = line;
    }
}
