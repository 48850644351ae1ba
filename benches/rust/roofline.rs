//! Each kernel alone, at every level of this machine, as JSON lines for `benches/kernels.py`: data in the first- or second-level cache,
//! 1,024 coordinates, 4 bits.
//!
//! Kernels are private to the crate, so this compiles their sources a second time. Tests hold what they compute; here only time counts.

#![allow(dead_code, unused_imports, unreachable_pub, reason = "a part of the kernels is measured")]
#![allow(clippy::print_stdout, reason = "a program's output")]

use std::hint::black_box;
use std::time::Instant;

mod error {
    pub use turboquant_rs::Error;
    pub type Result<T> = std::result::Result<T, Error>;
}
#[path = "../../rust/core/src/kernels/mod.rs"]
mod kernels;
/// What the kernels' tests take, where a linter asks for tests.
#[cfg(test)]
#[path = "../../rust/core/src/rng.rs"]
mod rng;

use kernels::assign::{Products, Rotated, Table, assign_packed};
use kernels::hadamard::{Direction, transform};
use kernels::lines::Lines;
use kernels::pick::pick;
use kernels::planes::{BLOCK, Planes, Tables, Weights, upper_ends};
use kernels::product::{Panel, Queries, TILE, group_size, products};
use kernels::ranks::ranks;
use kernels::rows::{scale_down, top_magnitudes};
use kernels::scores::{Worth, at_least, from_products};
use kernels::shuffle::{Order, shuffle};
use kernels::single::{SPARE, Single};
use kernels::units::{Place, pack};
use kernels::{Level, units};

const DIM: usize = 1_024;
const ROWS: usize = 4;
/// Rows of a panel.
const PANEL: usize = 64;
/// Rows of a first stage: what it reads is in the second-level cache.
const STAGE_ROWS: usize = 4_096;
const REPEATS: usize = 15;

/// Prints what `run` takes: seconds, products or other operations, and bytes that it reads and writes; the best of several repeats.
fn time(level: Level, name: &str, operations: usize, bytes: usize, mut run: impl FnMut()) {
    let mut best = f64::MAX;
    for _ in 0..REPEATS {
        let mut turns = 0_u32;
        let start = Instant::now();
        while start.elapsed().as_micros() < 2_000 {
            for _ in 0..8 {
                run();
            }
            turns += 8;
        }
        best = best.min(start.elapsed().as_secs_f64() / f64::from(turns));
    }
    println!(
        r#"{{"level": "{}", "kernel": "{name}", "seconds": {best:e}, "operations": {operations}, "bytes": {bytes}}}"#,
        level.name()
    );
}

fn values(n: usize) -> Vec<f32> {
    (0..n as u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 8) as f32 / (1 << 22) as f32 - 2.0).collect()
}

fn bytes(n: usize) -> Vec<u8> {
    (0..n as u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 11) as u8).collect()
}

fn table() -> Table {
    let levels: Vec<f32> = (0..16_u8).map(|k| f32::from(k) / 3.0 - 2.5).collect();
    let bounds: Vec<f32> = levels.windows(2).map(|pair| 0.5 * (pair[0] + pair[1])).collect();
    Table::new(&levels, &bounds)
}

fn places() -> [Place; 3] {
    let place = |width, shift, offset| Place { width, shift, offset, stride: DIM / 2 };
    [place(1, 3, 0), place(1, 2, DIM / 8), place(2, 0, DIM / 4)]
}

fn encoding(level: Level) {
    let n = ROWS * DIM;
    let (x, mut lines) = (values(n), Lines::default());
    let y = lines.of(n);
    y.copy_from_slice(&x);
    let (mut tops, mut sums, mut spare, mut codes) = ([0; ROWS], [0.0; ROWS], Vec::new(), Vec::new());
    time(level, "largest magnitudes", n, 4 * n, || top_magnitudes(level, black_box(&x), DIM, &mut tops));
    let exponents = [0; ROWS];
    time(level, "scaling and squares", 3 * n, 8 * n, || {
        scale_down(level, black_box(&x), DIM, &exponents, y, &mut sums);
    });
    let factors: Lines = values(DIM).into_iter().map(|value| value.signum() / 32.0).collect();
    // A product, then a sum or difference a stage.
    time(level, "block transform", n * (1 + DIM.ilog2() as usize), 8 * n, || {
        transform(level, Direction::Forward, black_box(&mut *y), DIM, 0, factors.values());
    });
    let order = Order::new((0..DIM as u32).map(|i| i * 389 % DIM as u32).collect());
    time(level, "permutation", 0, 8 * n, || shuffle(level, &order, black_box(&mut *y), &mut spare));
    y.copy_from_slice(&x);
    let (table, places, gains) = (table(), places(), [1.0; ROWS]);
    let (mut packed, mut found) = (vec![0; n / 2], [Products::default(); ROWS]);
    time(level, "assignment and packing", n, 4 * n + n / 2, || {
        let rows = Rotated { y: black_box(&mut *y), m: DIM, gains: &gains };
        assign_packed(level, &table, rows, &places, &mut packed, &mut codes, &mut found);
    });
    let codes: Vec<u8> = bytes(n).iter().map(|code| code & 15).collect();
    time(level, "packing", 0, n + n / 2, || {
        places.iter().for_each(|&place| pack(level, black_box(&codes), DIM, place, &mut packed));
    });
}

fn scanning(level: Level) {
    let (packed, places) = (bytes(PANEL * DIM / 2), places());
    let levels: [i8; 256] = std::array::from_fn(|code| (17 * (code % 16)) as u8 as i8 / 2);
    let (mut panel, mut codes) = (Panel::default(), Vec::new());
    let n = PANEL * DIM;
    time(level, "panel decoding", 0, n / 2 + n, || {
        panel.begin(level, PANEL, DIM);
        for tile in 0..PANEL / TILE {
            let rows = &packed[tile * TILE * DIM / 2..][..TILE * DIM / 2];
            let units = places.map(|place| (rows, place));
            Panel::fill([black_box(&mut panel)], level, tile, &units, [&levels], 16, &mut codes);
        }
    });
    let (group, mut queries) = (group_size(level), Queries::new(level, DIM));
    (0..group)
        .for_each(|i| queries.push(&bytes(DIM + i)[i..].iter().map(|&q| (q as i8).max(-127)).collect::<Vec<_>>()));
    queries.finish();
    let mut out = vec![0; group * PANEL];
    time(level, "int8 product", group * n, n + group * DIM, || {
        products(level, black_box(&queries), 0, &panel, &mut out);
    });
    let (factors, scales, floors) = (values(group), values(PANEL), vec![f32::MAX; group]);
    let (mut scores, mut marks) = (vec![0.0; group * PANEL], vec![0; group]);
    time(level, "epilogue", group * PANEL, 8 * group * PANEL, || {
        let worth = Worth { factors: &factors, scales: &scales, first: true, stride: PANEL };
        from_products(level, black_box(&out), worth, &mut scores);
        at_least(level, &scores, PANEL, &floors, &mut marks);
    });
    let columns = DIM / 8;
    let entries = vec![[7; 16]; Tables::entries(columns)];
    let tables = Tables::new(columns, &entries);
    let (planes, bounds, stage_scales) =
        (bytes(STAGE_ROWS * columns), vec![7 << 16 | 9; STAGE_ROWS], values(STAGE_ROWS));
    let rows = Planes { blocks: planes.as_chunks::<BLOCK>().0, bounds: &bounds, scales: &stage_scales };
    let (mut ends, weights) = (vec![0.0; STAGE_ROWS], Weights { offset: 63, factor: 0.1, deviation: 0.1, center: 0.0 });
    time(level, "first stage, sign planes", 2 * STAGE_ROWS * columns, STAGE_ROWS * (columns + 12), || {
        upper_ends(level, black_box(rows), [(tables, weights)], [&mut ends]);
    });
    let (of_rows, ids) = (ends[..PANEL].try_into().expect("64 keys"), &[7; PANEL]);
    let (mut keys, mut found) = (Vec::new(), Vec::new());
    time(level, "candidates, 8 of 64 rows", PANEL, 16 * PANEL + 12 * 8, || {
        keys.clear();
        found.clear();
        let rows = black_box(0x0101_0101_0101_0101);
        pick(level, (rows, f32::MIN), [of_rows, of_rows], ids, (&mut keys, &mut found));
    });
    let mut of_keys = vec![0; STAGE_ROWS];
    time(level, "ranks", STAGE_ROWS, 8 * STAGE_ROWS, || {
        black_box(ranks(level, black_box(&ends), &mut of_keys));
    });
    let mut single = Single::new(DIM / 2);
    let integers: Vec<_> = bytes(DIM).iter().map(|&q| i32::from(q) / 2).collect();
    let words: Vec<_> = (0..16).map(|l| 16 * l - 120).collect();
    single.push(4, &words, std::iter::once((DIM, places.to_vec())), &integers);
    let mut row = bytes(DIM / 2);
    row.resize(DIM / 2 + SPARE, 0);
    let mut sum = 0;
    time(level, "one survivor", DIM, DIM / 2 + 2 * DIM, || {
        single.products(level, black_box(&row), |product| sum += product)
    });
    black_box(sum);
}

fn main() {
    for level in Level::available() {
        encoding(level);
        scanning(level);
    }
    black_box(units::unit_bytes(DIM, 1));
}
