//! Whether this process may use AMX: asked once, and tried once.
//!
//! Linux saves the eight kilobytes of tiles only for processes that ask (`arch_prctl`, since 5.16), and the answer holds for all
//! threads and for what is forked. It refuses where a thread's alternate signal stack is too small for them. Everything that is not a clear
//! yes means that the level is absent: another system, a processor or hypervisor that does not describe the tiles, a refusal, a wrong product.

use std::sync::atomic::{AtomicU8, Ordering};

use super::Amx;

/// 0 before the question.
static ANSWER: AtomicU8 = AtomicU8::new(0);
const NO: u8 = 1;
const YES: u8 = 2;

/// The token, if everything that it proves is so.
pub(super) fn detect() -> Option<Amx> {
    // No lock, which a fork in its midst would leave locked: threads that ask at once get the same answer.
    let answer = match ANSWER.load(Ordering::Relaxed) {
        0 => {
            let answer = if usable() { YES } else { NO };
            ANSWER.store(answer, Ordering::Relaxed);
            answer
        }
        answer => answer,
    };
    (answer == YES).then_some(Amx(()))
}

#[cfg(not(target_arch = "x86_64"))]
fn usable() -> bool {
    false
}

#[cfg(target_arch = "x86_64")]
fn usable() -> bool {
    // The last step is the first that uses a tile.
    x86::described() && x86::saved() && x86::permitted() && crate::kernels::product::tiles_agree(Amx(()))
}

/// Called where AVX-512 was detected: the processor and the system have XSAVE.
#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::{__cpuid, __cpuid_count, _xgetbv};

    /// Whether the processor has tiles and their byte products, and its tiles are the usual ones: eight of 16 rows of 64 bytes.
    #[allow(unused_unsafe, reason = "safe functions in newer versions of Rust")]
    pub(super) fn described() -> bool {
        // SAFETY: every processor of x86-64 has the instruction.
        let (last, features) = unsafe { (__cpuid(0).eax, __cpuid_count(7, 0).edx) };
        let (tile, int8) = (features >> 24 & 1 == 1, features >> 25 & 1 == 1);
        if last < 0x1D || !tile || !int8 {
            return false;
        }
        // SAFETY: as above; the processor knows this leaf.
        let palette = unsafe { __cpuid_count(0x1D, 1) };
        let (row_bytes, tiles, rows) = (palette.ebx & 0xFFFF, palette.ebx >> 16, palette.ecx & 0xFFFF);
        row_bytes >= 64 && tiles >= 8 && rows >= 16
    }

    /// Whether the operating system has switched on the state of tiles: their configuration (bit 17) and data (18).
    pub(super) fn saved() -> bool {
        // SAFETY: AVX-512 was detected, which includes that XGETBV may be executed.
        let enabled = unsafe { _xgetbv(0) };
        enabled >> 17 & 3 == 3
    }

    /// Other systems are not asked.
    #[cfg(not(target_os = "linux"))]
    pub(super) fn permitted() -> bool {
        false
    }

    /// Asks Linux to let this process use tiles; that it may already is a yes.
    #[cfg(target_os = "linux")]
    pub(super) fn permitted() -> bool {
        const ARCH_PRCTL: i64 = 158;
        const REQUEST_PERMISSION: u64 = 0x1023;
        const TILE_DATA: u64 = 18;
        let result: i64;
        // SAFETY: arch_prctl(ARCH_REQ_XCOMP_PERM, 18) reads and writes no memory of ours; the instruction changes rcx and r11.
        unsafe {
            std::arch::asm!(
                "syscall",
                inlateout("rax") ARCH_PRCTL => result,
                in("rdi") REQUEST_PERMISSION,
                in("rsi") TILE_DATA,
                lateout("rcx") _,
                lateout("r11") _,
                options(nostack)
            );
        }
        result == 0
    }
}
