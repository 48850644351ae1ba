//! Thread pools by size, made when first needed, and made anew in a forked child.
//!
//! A forked child has none of its parent's threads, so a pool made before the fork would wait for ever. Pools are therefore keyed by
//! process id, and never dropped: dropping one in a child would wait for threads that are not there.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use rayon::{ThreadPool, ThreadPoolBuilder};
use turboquant_rs::Exec;

struct Entry {
    process: u32,
    threads: usize,
    pool: &'static ThreadPool,
}

static POOLS: Mutex<Vec<Entry>> = Mutex::new(Vec::new());

/// Runs `work` on `threads` threads; `None` is one a core (or `RAYON_NUM_THREADS`). Work that is one task, so that it `splits` into no
/// more, stays on this thread: waking a pool takes longer than encoding a row.
pub(crate) fn run<R: Send>(threads: Option<usize>, splits: bool, work: impl FnOnce(Exec) -> R + Send) -> R {
    if !splits {
        return work(Exec { serial: true, ..Exec::default() });
    }
    let threads = threads.unwrap_or_else(default_threads);
    if threads <= 1 {
        return work(Exec { serial: true, ..Exec::default() });
    }
    match shared(threads) {
        Some(pool) => pool.install(|| work(Exec::default())),
        None => work(Exec { serial: true, ..Exec::default() }),
    }
}

fn default_threads() -> usize {
    let asked = std::env::var("RAYON_NUM_THREADS").ok().and_then(|n| n.parse().ok()).filter(|&n| n > 0);
    asked.unwrap_or_else(cores)
}

/// Cores that this process may use, counted once: the system reads several files for it.
fn cores() -> usize {
    /// The process in the high half, its cores in the low one: a forked child counts anew.
    static COUNTED: AtomicU64 = AtomicU64::new(0);
    let (process, counted) = (u64::from(std::process::id()), COUNTED.load(Ordering::Relaxed));
    if counted >> 32 == process {
        return (counted & u64::from(u32::MAX)) as usize;
    }
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    COUNTED.store(process << 32 | cores as u64, Ordering::Relaxed);
    cores
}

/// The process's pool of that size. `None` if threads cannot be had, or if the lock was held across a fork: slow, never stuck.
fn shared(threads: usize) -> Option<&'static ThreadPool> {
    let process = std::process::id();
    let mut pools = (0..100).find_map(|_| {
        let lock = POOLS.try_lock().ok();
        if lock.is_none() {
            std::thread::yield_now();
        }
        lock
    })?;
    if let Some(entry) = pools.iter().find(|entry| entry.process == process && entry.threads == threads) {
        return Some(entry.pool);
    }
    let pool = ThreadPoolBuilder::new().num_threads(threads).thread_name(|i| format!("turboquant-{i}")).build().ok()?;
    let pool = Box::leak(Box::new(pool));
    pools.push(Entry { process, threads, pool });
    Some(pool)
}
