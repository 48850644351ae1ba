//! The registers of AMX in plain Rust, as Intel's manual defines the instructions: what the kernel does is tested on every machine.
//!
//! The model checks what the processor would: that a configuration is valid, that registers exist and that their shapes fit.

use super::amx::{Shapes, TileBlock, Tiles, agree, products};
use super::{Image, Line, PAIR, TILE};
use crate::kernels::testing::bytes;

/// One register.
#[derive(Clone, Copy, Debug)]
struct Register {
    rows: usize,
    row_bytes: usize,
    data: [[u8; 64]; 16],
}

/// Eight registers, which are there once they are configured.
#[derive(Debug, Default)]
pub(super) struct Model {
    registers: Option<[Register; 8]>,
}

impl Model {
    fn register(&self, i: u8) -> &Register {
        let register = &self.registers.as_ref().expect("configured")[usize::from(i)];
        assert!(register.rows > 0, "register {i} is configured");
        register
    }

    fn register_mut(&mut self, i: u8) -> &mut Register {
        self.register(i);
        &mut self.registers.as_mut().expect("configured")[usize::from(i)]
    }
}

impl Tiles for Model {
    fn configure(&mut self, shapes: &Shapes) {
        // SAFETY: 64 bytes without padding, any of which a byte may have.
        let bytes: [u8; 64] = unsafe { std::mem::transmute(*shapes) };
        assert!(bytes[0] == 1 && bytes[1] == 0, "palette 1, from row 0");
        assert!(bytes[2..16].iter().chain(&bytes[32..48]).chain(&bytes[56..64]).all(|&byte| byte == 0), "reserved");
        self.registers = Some(std::array::from_fn(|i| {
            let row_bytes = usize::from(u16::from_le_bytes([bytes[16 + 2 * i], bytes[17 + 2 * i]]));
            let rows = usize::from(bytes[48 + i]);
            assert!(rows <= 16 && row_bytes <= 64 && (rows == 0) == (row_bytes == 0), "a shape of palette 1");
            Register { rows, row_bytes, data: [[0; 64]; 16] }
        }));
    }

    fn zero<const T: u8>(&mut self) {
        self.register_mut(T).data = [[0; 64]; 16];
    }

    fn load<const T: u8>(&mut self, image: &Image) {
        let register = self.register_mut(T);
        // Rows beyond the shape become zeros.
        register.data = [[0; 64]; 16];
        for (row, line) in register.data.iter_mut().zip(image).take(register.rows) {
            for (byte, &value) in row.iter_mut().zip(&line.0).take(register.row_bytes) {
                *byte = value as u8;
            }
        }
    }

    fn multiply<const SUMS: u8, const QUERIES: u8, const ROWS: u8>(&mut self) {
        let (sums, a, b) = (*self.register(SUMS), *self.register(QUERIES), *self.register(ROWS));
        assert!(SUMS != QUERIES && SUMS != ROWS && QUERIES != ROWS, "three registers");
        assert!([sums.row_bytes, a.row_bytes, b.row_bytes].iter().all(|bytes| bytes.is_multiple_of(4)), "whole dwords");
        assert!(sums.rows == a.rows && sums.row_bytes == b.row_bytes && a.row_bytes == 4 * b.rows, "shapes fit");
        let out = self.register_mut(SUMS);
        for (out, a) in out.data.iter_mut().zip(&a.data).take(sums.rows) {
            let out = &mut out.as_chunks_mut::<4>().0[..sums.row_bytes / 4];
            for (a, b) in a.as_chunks::<4>().0.iter().zip(&b.data).take(b.rows) {
                for (dword, b) in out.iter_mut().zip(b.as_chunks::<4>().0) {
                    let products = a.iter().zip(b).map(|(&a, &b)| i32::from(a as i8) * i32::from(b as i8));
                    *dword = i32::from_le_bytes(*dword).wrapping_add(products.sum()).to_le_bytes();
                }
            }
        }
    }

    fn store<const T: u8>(&self, out: &mut [i32], stride: usize) {
        let register = self.register(T);
        for (i, row) in register.data.iter().enumerate().take(register.rows) {
            for (out, dword) in out[i * stride..][..register.row_bytes / 4].iter_mut().zip(row.as_chunks::<4>().0) {
                *out = i32::from_le_bytes(*dword);
            }
        }
    }
}

/// Bytes in [−127, 127].
fn values(n: usize, seed: u64) -> Vec<i8> {
    bytes(n, seed).iter().map(|byte| (*byte as i8).max(-127)).collect()
}

#[test]
fn a_register_product_is_that_of_matrices() {
    let (a, b) = (values(5 * 64, 1), values(64 * 16, 2));
    let (mut queries, mut rows) = ([Line([0; 64]); 16], [Line([0; 64]); 16]);
    for (line, row) in queries.iter_mut().zip(a.as_chunks::<64>().0) {
        line.0 = *row;
    }
    for k in 0..64 {
        for n in 0..16 {
            rows[k / 4].0[4 * n + k % 4] = b[16 * k + n];
        }
    }
    let mut model = Model::default();
    model.configure(&Shapes::new(5, 0));
    model.load::<4>(&queries);
    model.load::<6>(&rows);
    model.multiply::<0, 4, 6>();
    model.multiply::<0, 4, 6>();
    let mut out = vec![7; 5 * 20];
    model.store::<0>(&mut out[..4 * 20 + 16], 20);
    for (i, &sum) in out.iter().enumerate() {
        let (m, n) = (i / 20, i % 20);
        let product = |n| (0..64).map(|k| i32::from(a[64 * m + k]) * i32::from(b[16 * k + n])).sum::<i32>();
        assert_eq!(sum, if n < 16 { 2 * product(n) } else { 7 }, "row {m}, column {n}");
    }
}

#[test]
fn blocks_of_any_number_of_queries_rows_and_steps_are_exact() {
    for steps in [1, 2, 3, 7] {
        for pairs in [1, 2] {
            let (rows, m) = (pairs * PAIR, 64 * steps);
            let x = values(rows * m, 3);
            let mut panel = vec![[Line([0; 64]); TILE]; rows / TILE * steps];
            for (i, &value) in x.iter().enumerate() {
                let (r, at) = (i / m, i % m);
                panel[r / TILE * steps + at / 64][at % 64 / 4].0[4 * (r % TILE) + at % 4] = value;
            }
            for n in 1..=64 {
                let q = values(n * m, 4);
                let mut queries = vec![[Line([0; 64]); TILE]; n.div_ceil(TILE) * steps];
                for (i, values) in q.as_chunks::<64>().0.iter().enumerate() {
                    queries[i / steps / TILE * steps + i % steps][i / steps % TILE].0 = *values;
                }
                let mut out = vec![7; n * rows];
                let block = TileBlock { queries: &queries, n, panel: &panel, steps, rows };
                products(&mut Model::default(), block, &mut out);
                for (i, &product) in out.iter().enumerate() {
                    let (q, x) = (&q[i / rows * m..][..m], &x[i % rows * m..][..m]);
                    let plain = q.iter().zip(x).map(|(&q, &x)| i32::from(q) * i32::from(x)).sum::<i32>();
                    assert_eq!(product, plain, "{steps} steps, {n} queries, {rows} rows: product {i}");
                }
            }
        }
    }
}

/// Registers that do one thing wrongly.
#[derive(Debug, Default)]
struct Wrong {
    model: Model,
    unsigned: bool,
    swapped: bool,
    deaf: bool,
}

impl Tiles for Wrong {
    fn configure(&mut self, shapes: &Shapes) {
        self.model.configure(shapes);
    }

    fn zero<const T: u8>(&mut self) {
        if !self.deaf {
            self.model.zero::<T>();
        }
    }

    fn load<const T: u8>(&mut self, image: &Image) {
        self.model.load::<T>(image);
        if self.unsigned && T < 6 {
            let lines = self.model.register_mut(T).data.iter_mut();
            lines.for_each(|line| line.iter_mut().for_each(|byte| *byte = (*byte).min(127)));
        }
    }

    fn multiply<const SUMS: u8, const QUERIES: u8, const ROWS: u8>(&mut self) {
        if self.swapped && self.model.register(QUERIES).rows == 16 {
            self.model.multiply::<SUMS, ROWS, QUERIES>();
        } else {
            self.model.multiply::<SUMS, QUERIES, ROWS>();
        }
    }

    fn store<const T: u8>(&self, out: &mut [i32], stride: usize) {
        self.model.store::<T>(out, stride);
    }
}

#[test]
fn the_self_check_finds_registers_that_are_wrong() {
    assert!(agree(&mut Model::default()));
    assert!(agree(&mut Wrong::default()));
    assert!(!agree(&mut Wrong { unsigned: true, ..Wrong::default() }), "bytes of queries of one sign");
    assert!(!agree(&mut Wrong { swapped: true, ..Wrong::default() }), "operands in the other order");
    assert!(!agree(&mut Wrong { deaf: true, ..Wrong::default() }), "registers that are not zeroed");
}
