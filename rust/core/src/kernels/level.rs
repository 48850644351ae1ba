//! SIMD levels as values: holding a [`Level`] is the proof that the processor has it.
//!
//! A level's payload is a zero-sized token with a private field, made only by detection. Safe code can therefore not
//! reach a kernel that the processor lacks, and kernels need no run-time check of their own.

mod amx;

use std::sync::atomic::{AtomicU8, Ordering};

use crate::error::{Error, Result};

/// Environment variable that forces a level by name, read when a level is first needed.
pub const LEVEL_VARIABLE: &str = "TURBOQUANT_SIMD";

/// Every level name that the project knows, on any machine.
const KNOWN: [&str; 9] = ["scalar", "avx2", "avxvnni", "avx512", "avx512vnni", "amx", "neon", "neon_dot", "neon_i8mm"];

/// Proof that the processor has AVX2 (with FMA, F16C and BMI2: x86-64-v3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Avx2(());

/// Proof that the processor has AVX-VNNI, the byte products of 256-bit registers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AvxVnni(());

/// Proof that the processor has AVX-512 F, BW, DQ and VL, and what [`Avx2`] proves (Skylake-X and later, Zen 4 and later).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Avx512(());

/// Proof that the processor has AVX-512 VNNI, the byte products of 512-bit registers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Avx512Vnni(());

/// Proof that the processor has AMX for bytes, that the operating system lets this process use it, and that it passed its self-check
/// (Sapphire Rapids and later, Linux).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Amx(());

/// Proof that the processor has NEON (every aarch64 processor that Rust targets).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Neon(());

/// Proof that the processor has `dotprod`, the byte products `sdot` and `udot`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NeonDot(());

/// Proof that the processor has `i8mm`, the byte matrix product `smmla`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NeonI8mm(());

#[cfg(all(test, target_arch = "x86_64"))]
impl Amx {
    /// Whether this process has AMX; otherwise tests multiply by a model of its registers.
    pub(super) fn is_proof(self) -> bool {
        amx::detect() == Some(self)
    }
}

/// Proof that the processor has AVX-512 VBMI, permutations and shifts of the bytes of 512-bit registers (Ice Lake and later, Zen 4 and
/// later). Some kernels have a faster form for it; it makes no level of its own.
#[cfg(target_arch = "x86_64")]
#[derive(Clone, Copy, Debug)]
pub(super) struct Avx512Vbmi(());

#[cfg(target_arch = "x86_64")]
impl Avx512Vbmi {
    pub(super) fn beside(_: Avx512) -> Option<Self> {
        is_x86_feature_detected!("avx512vbmi").then_some(Self(()))
    }
}

impl From<Avx512> for Avx2 {
    fn from(_: Avx512) -> Self {
        Self(())
    }
}

/// A set of kernels that this processor can run. All levels give the same bytes and scores.
///
/// # Examples
/// ```
/// use turboquant_rs::Level;
/// assert_eq!(Level::available()[0], Level::Scalar);
/// assert_eq!(Level::named("scalar")?, Level::Scalar);
/// assert!(Level::named("mmx").is_err());
/// # Ok::<(), turboquant_rs::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Level {
    /// Plain Rust, any processor.
    Scalar,
    /// x86-64 with AVX2.
    Avx2(Avx2),
    /// AVX2 and AVX-VNNI.
    AvxVnni(Avx2, AvxVnni),
    /// AVX-512 F, BW, DQ and VL.
    Avx512(Avx512),
    /// AVX-512 with VNNI.
    Avx512Vnni(Avx512, Avx512Vnni),
    /// AVX-512 with VNNI, and AMX for batches.
    Amx(Avx512, Avx512Vnni, Amx),
    /// aarch64 with NEON.
    Neon(Neon),
    /// NEON with `dotprod`.
    NeonDot(Neon, NeonDot),
    /// NEON with `dotprod` and `i8mm`.
    NeonI8mm(Neon, NeonI8mm),
}

/// Index into the levels of this processor plus one, that of [`Level::Amx`] after all others; 0 while no level is chosen.
static CHOSEN: AtomicU8 = AtomicU8::new(0);

impl Level {
    /// The levels that this processor can run, weakest first; the first is always [`Level::Scalar`].
    ///
    /// Where the processor has AMX, the first call asks Linux to let this process use it, and tries it once. [`Level::named`] and
    /// `TURBOQUANT_SIMD` with another level's name do not ask.
    #[must_use]
    pub fn available() -> Vec<Level> {
        let mut levels = Self::unasked();
        levels.extend(Self::with_tiles());
        levels
    }

    /// The levels that need nobody's permission.
    fn unasked() -> Vec<Level> {
        #[allow(unused_mut, reason = "only some architectures add levels")]
        let mut levels = vec![Level::Scalar];
        #[cfg(target_arch = "x86_64")]
        if is_x86_feature_detected!("avx2")
            && is_x86_feature_detected!("fma")
            && is_x86_feature_detected!("f16c")
            && is_x86_feature_detected!("bmi2")
        {
            levels.push(Level::Avx2(Avx2(())));
            if is_x86_feature_detected!("avxvnni") {
                levels.push(Level::AvxVnni(Avx2(()), AvxVnni(())));
            }
            // The detection asks the operating system as well whether it saves the wide registers.
            if is_x86_feature_detected!("avx512f")
                && is_x86_feature_detected!("avx512bw")
                && is_x86_feature_detected!("avx512dq")
                && is_x86_feature_detected!("avx512vl")
            {
                levels.push(Level::Avx512(Avx512(())));
                if is_x86_feature_detected!("avx512vnni") {
                    levels.push(Level::Avx512Vnni(Avx512(()), Avx512Vnni(())));
                }
            }
        }
        #[cfg(all(target_arch = "aarch64", target_feature = "neon"))]
        {
            levels.push(Level::Neon(Neon(())));
            if std::arch::is_aarch64_feature_detected!("dotprod") {
                levels.push(Level::NeonDot(Neon(()), NeonDot(())));
                if std::arch::is_aarch64_feature_detected!("i8mm") {
                    levels.push(Level::NeonI8mm(Neon(()), NeonI8mm(())));
                }
            }
        }
        levels
    }

    /// The level that needs permission, if it is there.
    fn with_tiles() -> Option<Level> {
        match Self::unasked().last() {
            Some(&Level::Avx512Vnni(avx512, vnni)) => amx::detect().map(|amx| Level::Amx(avx512, vnni, amx)),
            _ => None,
        }
    }

    /// The level with tiles for tests: on processors without AMX its product is that of a model.
    #[cfg(test)]
    pub(crate) fn with_model() -> Option<Level> {
        Self::with_tiles().or_else(|| match Self::unasked().last() {
            Some(&Level::Avx512Vnni(avx512, vnni)) => Some(Level::Amx(avx512, vnni, Amx(()))),
            _ => None,
        })
    }

    /// The level's name, as `TURBOQUANT_SIMD` takes it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Level::Scalar => "scalar",
            Level::Avx2(_) => "avx2",
            Level::AvxVnni(..) => "avxvnni",
            Level::Avx512(_) => "avx512",
            Level::Avx512Vnni(..) => "avx512vnni",
            Level::Amx(..) => "amx",
            Level::Neon(_) => "neon",
            Level::NeonDot(..) => "neon_dot",
            Level::NeonI8mm(..) => "neon_i8mm",
        }
    }

    /// Whether an instruction multiplies bytes and sums the products: a scan's products then cost half as much as those of words, or less.
    #[must_use]
    pub fn multiplies_bytes(self) -> bool {
        !matches!(self, Level::Scalar | Level::Avx2(_) | Level::Avx512(_) | Level::Neon(_))
    }

    /// The available level called `name`.
    ///
    /// # Errors
    /// [`Error::Level`] if the name is unknown, or this processor or this version has no such kernels.
    pub fn named(name: &str) -> Result<Level> {
        if let Some(level) = Level::unasked().into_iter().find(|level| level.name() == name) {
            return Ok(level);
        }
        let available = Level::available();
        available.iter().copied().find(|level| level.name() == name).ok_or_else(|| {
            let names: Vec<_> = available.iter().map(|level| level.name()).collect();
            Error::Level { name: name.to_owned(), known: KNOWN.contains(&name), available: names.join(", ") }
        })
    }

    /// The level that calls use when they name none: the one set by [`Level::set_default`], else the one that
    /// `TURBOQUANT_SIMD` names, else the strongest.
    ///
    /// # Errors
    /// [`Error::Level`] if the variable names a level that is not available.
    pub fn default_level() -> Result<Level> {
        // Relaxed is enough: every thread that finds 0 computes the same answer.
        let chosen = usize::from(CHOSEN.load(Ordering::Relaxed));
        if chosen > 0 {
            let level = Self::unasked().get(chosen - 1).copied().or_else(Self::with_tiles);
            #[cfg(test)]
            let level = level.or_else(Self::with_model);
            return Ok(level.expect("a level that was chosen is available"));
        }
        let level = match std::env::var(LEVEL_VARIABLE) {
            Ok(name) if !name.is_empty() => Level::named(&name)?,
            _ => *Level::available().last().expect("scalar is always available"),
        };
        level.set_default();
        Ok(level)
    }

    /// Makes this level the process's default. Results do not change, only speed.
    pub fn set_default(self) {
        let unasked = Self::unasked();
        let at = unasked.iter().position(|&level| level == self).unwrap_or(unasked.len());
        CHOSEN.store(u8::try_from(at + 1).expect("few levels"), Ordering::Relaxed);
    }
}
