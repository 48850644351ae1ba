//! A vector search service in one process, without Python: `cargo run --release --example embed_in_service`.
//!
//! Requests come over channels, where a real service has sockets. One thread encodes new vectors into its own buffers
//! and holds the index's lock only to append them; others gather waiting queries into batches and search while rows are
//! added. At the end every answer is checked against a plain index filled in one go: results depend on the codes alone,
//! never on threads, batches or the order in which requests met.

#![allow(clippy::print_stdout, reason = "an example talks to its reader")]

use std::error::Error;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, RwLock};
use std::thread;
use std::time::Instant;

use turboquant_rs::{CodesView, EncodeOptions, Exec, Index, Metric, Options, SearchOptions, TurboQuant};

const DIM: usize = 128;
const BITS: u32 = 4;
const K: usize = 10;
const VECTORS: usize = 40_000;
const PER_ADD: usize = 1_000;
const QUERIES: usize = 2_000;
const SEARCHERS: usize = 2;
const LARGEST_BATCH: usize = 64;

struct Search {
    query: Vec<f32>,
    reply: Sender<(Vec<i64>, Vec<f32>)>,
}

/// Encodes and appends batches of vectors until their channel closes. Ids are 0, 1, 2 … in order of arrival.
fn ingest(codec: &TurboQuant, index: &RwLock<Index>, batches: Receiver<Vec<f32>>) -> turboquant_rs::Result<()> {
    let (mut packed, mut scales) = (Vec::new(), Vec::new());
    for vectors in batches {
        let n = vectors.len() / DIM;
        packed.resize(n * codec.row_bytes(), 0);
        scales.resize(n * codec.spec().norms(), 0.0);
        // Cosine: codes stand for x/|x|. No lock is held while encoding, and no memory is allocated for the result.
        let options = EncodeOptions { unit_norm: true, ..EncodeOptions::default() };
        on_own_pool(|| codec.encode_into(&vectors, &mut packed, &mut scales, options, Exec::default()))?;
        let codes = CodesView::new(codec, &[BITS], &packed, &scales)?;
        index.write().expect("no thread panics with the lock").add_codes(codes, &[], None)?;
    }
    Ok(())
}

/// Answers queries until their channel closes; those that wait are searched as one batch, which reads the codes once.
fn search(index: &RwLock<Index>, requests: &Mutex<Receiver<Search>>) -> turboquant_rs::Result<()> {
    loop {
        let batch: Vec<Search> = {
            let waiting = requests.lock().expect("no thread panics with the lock");
            let Ok(first) = waiting.recv() else { return Ok(()) };
            std::iter::once(first).chain(waiting.try_iter().take(LARGEST_BATCH - 1)).collect()
        };
        let queries: Vec<f32> = batch.iter().flat_map(|request| &request.query).copied().collect();
        // This thread is the service's unit of work, so the search stays on it.
        let exec = Exec { serial: true, ..Exec::default() };
        let found = index
            .read()
            .expect("no thread panics with the lock")
            .search_with(&queries, SearchOptions { exec, ..SearchOptions::new(K) })?;
        for ((request, ids), scores) in batch.iter().zip(found.ids.chunks(K)).zip(found.scores.chunks(K)) {
            // A client that went away is no error.
            let _ = request.reply.send((ids.to_vec(), scores.to_vec()));
        }
    }
}

/// Runs work on threads that belong to the service instead of the process-wide pool.
fn on_own_pool<R: Send>(work: impl FnOnce() -> R + Send) -> R {
    #[cfg(feature = "parallel")]
    {
        static POOL: std::sync::OnceLock<rayon::ThreadPool> = std::sync::OnceLock::new();
        let make = || rayon::ThreadPoolBuilder::new().num_threads(2).build().expect("two threads can be started");
        POOL.get_or_init(make).install(work)
    }
    #[cfg(not(feature = "parallel"))]
    work()
}

/// Row `i` of a data set that is the same everywhere: sums of three uniform numbers by SplitMix64.
fn vector(i: usize) -> Vec<f32> {
    let mut state = (i as u64) << 32;
    let mut uniform = || {
        state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (state ^ (state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((z ^ (z >> 31)) >> 40) as f32 / 16_777_216.0 - 0.5
    };
    (0..DIM).map(|_| uniform() + uniform() + uniform()).collect()
}

/// A query near row `target`.
fn query(i: usize) -> (usize, Vec<f32>) {
    let target = i * 7_919 % VECTORS;
    (target, vector(target).iter().zip(vector(VECTORS + i)).map(|(x, noise)| x + 0.5 * noise).collect())
}

fn main() -> Result<(), Box<dyn Error>> {
    let codec = Arc::new(TurboQuant::new(DIM, BITS, Options::default())?);
    let index = RwLock::new(Index::new(Arc::clone(&codec), Metric::Cosine));
    let (to_ingest, batches) = channel();
    let (to_search, requests) = channel();
    let requests = Mutex::new(requests);

    let answers = thread::scope(|scope| {
        // Owned here, so that an error closes the channels and the threads end.
        let (to_ingest, to_search) = (to_ingest, to_search);
        let ingesting = scope.spawn(|| ingest(&codec, &index, batches));
        let searching: Vec<_> = (0..SEARCHERS).map(|_| scope.spawn(|| search(&index, &requests))).collect();
        let ask = |i| {
            let (reply, answer) = channel();
            to_search.send(Search { query: query(i).1, reply }).map(|()| answer)
        };

        let start = Instant::now();
        for first in (0..VECTORS).step_by(PER_ADD) {
            to_ingest.send((first..first + PER_ADD).flat_map(vector).collect())?;
            // Searches meet an index that grows: their answers are right for the rows that are in it.
            let (ids, _) = ask(first)?.recv()?;
            assert!(ids.iter().all(|id| (-1..VECTORS as i64).contains(id)), "ids that were given, or empty places");
        }
        drop(to_ingest);
        ingesting.join().expect("the thread has not panicked")?;
        let rate = VECTORS as f64 / start.elapsed().as_secs_f64();
        println!("{VECTORS} vectors made, encoded and added while searches ran: {rate:.0} a second");

        let start = Instant::now();
        let waiting = (0..QUERIES).map(ask).collect::<Result<Vec<_>, _>>()?;
        let answers = waiting.iter().map(Receiver::recv).collect::<Result<Vec<_>, _>>()?;
        println!(
            "{QUERIES} searches by {SEARCHERS} threads: {:.0} a second",
            QUERIES as f64 / start.elapsed().as_secs_f64()
        );
        drop(to_search);
        searching.into_iter().try_for_each(|thread| thread.join().expect("the thread has not panicked"))?;
        Ok::<_, Box<dyn Error>>(answers)
    })?;

    let mut plain = Index::new(codec, Metric::Cosine);
    plain.add(&(0..VECTORS).flat_map(vector).collect::<Vec<_>>(), None)?;
    let expected = plain.search(&(0..QUERIES).flat_map(|i| query(i).1).collect::<Vec<_>>(), K)?;
    let expected = expected.ids.chunks(K).zip(expected.scores.chunks(K));
    assert!(answers.iter().zip(expected).all(|(a, b)| a.0 == b.0 && a.1 == b.1), "the same ids and scores");
    let hits = (0..QUERIES).filter(|&i| answers[i].0[0] == query(i).0 as i64).count();
    println!(
        "every answer equals the plain index's; the row that a query was made from came first in {hits} of {QUERIES}"
    );
    println!("{:.1} bytes a vector instead of {}", plain.nbytes() as f64 / VECTORS as f64, 4 * DIM);
    Ok(())
}
