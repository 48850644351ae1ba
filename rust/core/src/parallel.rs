//! The only file that names rayon: tasks over blocks of rows, on the pool that the caller is in.
//!
//! Tasks never share a sum, so their number and order change nothing in the results.

use crate::error::{Error, Result};
use crate::kernels::Level;

/// How a call runs. Results do not depend on it.
///
/// # Examples
/// ```
/// use turboquant_rs::{Exec, Level};
/// let plain = Exec { level: Some(Level::Scalar), serial: true };
/// assert_ne!(plain, Exec::default());
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Exec {
    /// The kernels to use; `None` is the default level (see [`Level::default_level`]).
    pub level: Option<Level>,
    /// Stay on the calling thread. Otherwise rows are split over the current rayon pool: the global one, or the one
    /// whose `install` the call is made in. Without the feature `parallel` every call is serial.
    pub serial: bool,
}

impl Exec {
    /// Fewest rows of a task of encoding, decoding or cutting codes: a call of so many or fewer is one task, on the calling thread.
    pub const TASK_ROWS: usize = 256;
    /// Fewest rows of a task of a scan of codes, likewise.
    pub const SCAN_ROWS: usize = 1_024;

    pub(crate) fn level(&self) -> Result<Level> {
        self.level.map_or_else(Level::default_level, Ok)
    }

    /// The same with its level chosen. A call that hands work to several parts chooses once: another thread may set another default
    /// at any moment, and panels and queries are laid out for one level.
    pub(crate) fn settled(self) -> Result<Self> {
        Ok(Self { level: Some(self.level()?), ..self })
    }

    /// Rows of a task: all of them when serial, else a few tasks a thread, but at least `least` rows.
    pub(crate) fn rows_per_task(&self, rows: usize, least: usize) -> usize {
        let tasks = 4 * self.threads();
        if tasks <= 4 { rows.max(1) } else { rows.div_ceil(tasks).max(least) }
    }

    /// Rows of a task where each begins anew with what it learns from rows: one a thread, but at least `least`.
    pub(crate) fn rows_per_thread(&self, rows: usize, least: usize) -> usize {
        rows.div_ceil(self.threads()).max(least)
    }

    #[cfg(feature = "parallel")]
    fn threads(&self) -> usize {
        if self.serial { 1 } else { rayon::current_num_threads() }
    }

    #[cfg(not(feature = "parallel"))]
    #[allow(clippy::unused_self, reason = "the parallel form reads the field")]
    fn threads(&self) -> usize {
        1
    }

    /// Runs `work` on every task and returns the results in order.
    pub(crate) fn map<T: Send, R: Send>(&self, tasks: Vec<T>, work: impl Fn(T) -> R + Sync + Send) -> Vec<R> {
        #[cfg(feature = "parallel")]
        if !self.serial && tasks.len() > 1 {
            use rayon::prelude::*;
            return tasks.into_par_iter().map(work).collect();
        }
        tasks.into_iter().map(work).collect()
    }

    /// Runs `work` on every task; of several errors the one of the lowest row is returned.
    pub(crate) fn try_for_each<T: Send>(
        &self,
        tasks: Vec<T>,
        work: impl Fn(T) -> Result<()> + Sync + Send,
    ) -> Result<()> {
        let errors = self.map(tasks, work).into_iter().filter_map(Result::err);
        errors.min_by_key(Error::row).map_or(Ok(()), Err)
    }
}
