// From a seed to codes: TurboQuant as docs/numerics.md states it, with the bytes of the library.
//
// Float32 with + − × ÷ √, each rounded once. A JavaScript number is a float64, and rounding the float64 result of one of
// these five to float32 (Math.fround, or a store into a Float32Array) is the float32 result: 53 ≥ 2·24 + 2 bits.

const round = Math.fround;
const MASK = (1n << 64n) - 1n;
const GOLDEN = 0x9e3779b97f4a7c15n;

/** Output i of SplitMix64 seeded with key, BigInts (numerics.md section 1). */
function splitmix64(key, i) {
  let z = (key + (i + 1n) * GOLDEN) & MASK;
  z = ((z ^ (z >> 30n)) * 0xbf58476d1ce4e5b9n) & MASK;
  z = ((z ^ (z >> 27n)) * 0x94d049bb133111ebn) & MASK;
  return z ^ (z >> 31n);
}

function derive(seed, ...words) {
  return words.reduce((key, word) => splitmix64(key, BigInt(word)), BigInt(seed));
}

/** count signs, ±1: bit i mod 64 of output ⌊i/64⌋, 1 means −1. */
function signs(key, count) {
  const out = new Float32Array(count);
  for (let i = 0; i < count; i += 64) {
    const word = splitmix64(key, BigInt(i >> 6));
    const halves = [Number(word & 0xffffffffn), Number(word >> 32n)];
    for (let j = 0; j < 64 && i + j < count; j++) out[i + j] = (halves[j >> 5] >>> (j & 31)) & 1 ? -1 : 1;
  }
  return out;
}

/** A permutation of 0 … count − 1 by Fisher–Yates. */
function permutation(key, count) {
  const p = Array.from({ length: count }, (_, i) => i);
  for (let i = count - 1; i > 0; i--) {
    const j = Number((splitmix64(key, BigInt(i)) * BigInt(i + 1)) >> 64n);
    [p[i], p[j]] = [p[j], p[i]];
  }
  return p;
}

/** Standard normals of a stream, from the library's table of 4,096 magnitudes (numerics-papers.md section 1). */
function normals(key, count) {
  const out = new Float32Array(count);
  for (let i = 0; i < count; i += 4) {
    const word = splitmix64(key, BigInt(i >> 2));
    const halves = [Number(word & 0xffffffffn), Number(word >> 32n)];
    for (let j = 0; j < 4 && i + j < count; j++) {
      const field = (halves[j >> 1] >>> (16 * (j & 1))) & 0xffff;
      const magnitude = TABLES.normals[field & 4095];
      out[i + j] = field >> 15 ? -magnitude : magnitude;
    }
  }
  return out;
}

/** Walsh–Hadamard stages by ascending stride on y[start … start + p − 1], in place. */
function hadamard(y, start, p) {
  for (let stride = 1; stride < p; stride *= 2) {
    for (let block = start; block < start + p; block += 2 * stride) {
      for (let i = block; i < block + stride; i++) {
        const low = y[i], high = y[i + stride];
        y[i] = low + high;
        y[i + stride] = low - high;
      }
    }
  }
}

/** The library's rotation of one segment (numerics.md section 4): one for all vectors, fixed by the seed. */
class Rotation {
  constructor(dim, seed) {
    const log = 31 - Math.clz32(dim);
    const p = 1 << log;
    const scale = round((log % 2 ? round(Math.SQRT1_2) : 1) * 2 ** -(log >> 1));
    const rounds = p === dim && dim <= 512 ? 4 : 3;
    const block = (offset, r, step) => ({ offset, factors: signs(derive(seed, 0, 3 * r + step), p).map((s) => s * scale) });
    this.dim = dim;
    this.steps = [];
    for (let r = 0; r < rounds; r++) {
      this.steps.push(block(0, r, 0));
      if (p !== dim) {
        this.steps.push(block(dim - p, r, 1));
        if (r + 1 < rounds) this.steps.push({ source: permutation(derive(seed, 0, 3 * r + 2), dim) });
      }
    }
  }

  apply(x) {
    let y = Float32Array.from(x);
    for (const { offset, factors, source } of this.steps) {
      if (source) {
        y = Float32Array.from(source, (i) => y[i]);
        continue;
      }
      for (let i = 0; i < factors.length; i++) y[offset + i] *= factors[i];
      hadamard(y, offset, factors.length);
    }
    return y;
  }

  inverse(y) {
    let x = Float32Array.from(y);
    for (const { offset, factors, source } of [...this.steps].reverse()) {
      if (source) {
        const back = new Float32Array(this.dim);
        source.forEach((from, i) => (back[from] = x[i]));
        x = back;
        continue;
      }
      hadamard(x, offset, factors.length);
      for (let i = 0; i < factors.length; i++) x[offset + i] *= factors[i];
    }
    return x;
  }
}

/** The one order of float32 sums: 64 strided lanes, then halving (numerics.md section 3). term(i) must be a float32. */
function treeSum(count, term) {
  const lanes = new Float32Array(64);
  for (let i = 0; i < count; i++) lanes[i & 63] += term(i);
  for (let width = 32; width; width >>= 1) for (let i = 0; i < width; i++) lanes[i] += lanes[i + width];
  return lanes[0];
}

/** A row without its leading power of two: largest magnitude in [1, 2) (numerics.md section 2). */
function prepare(x) {
  const top = x.reduce((most, v) => Math.max(most, Math.abs(v)), 0);
  if (top < 2 ** -126) return { row: new Float32Array(x.length), exponent: 0 };
  let exponent = Math.floor(Math.log2(top));
  while (2 ** exponent > top) exponent--;
  while (2 ** (exponent + 1) <= top) exponent++;
  const row = Float32Array.from(x, (v) => {
    const scaled = v * 2 ** -exponent;
    return Math.abs(scaled) < 2 ** -40 ? 0 : scaled;
  });
  return { row, exponent };
}

const normOf = (row) => round(Math.sqrt(treeSum(row.length, (i) => round(row[i] * row[i]))));

function timesPower(value, exponent) {
  const result = round(value * 2 ** exponent);
  return Math.abs(result) < 2 ** -126 ? 0 : result;
}

/** Levels of codes of `bits` bits in `dim` dimensions, ascending, for coordinates of variance 1. */
function levels(bits, dim) {
  const gaussian = dim >= 128 || (dim >= 64 && bits <= 4);
  const half = gaussian ? TABLES.gaussian[bits - 1] : TABLES.beta[dim][bits - 1];
  return Float32Array.from([...Array.from(half, (v) => -v).reverse(), ...half]);
}

const boundaries = (level) => Float32Array.from({ length: level.length - 1 }, (_, k) => 0.5 * round(level[k] + level[k + 1]));

/** The number of boundaries below y; a tie goes to the lower code. */
function codeOf(y, bounds) {
  let low = 0, high = bounds.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (bounds[middle] < y) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** TurboQuant: every rotated coordinate to its nearest level, then one number a vector. */
class TurboQuant {
  constructor(dim, bits, { seed = 0, scale = "unbiased" } = {}) {
    Object.assign(this, { dim, bits, scale });
    this.rotation = new Rotation(dim, seed);
    this.levels = levels(bits, dim);
    this.bounds = boundaries(this.levels);
  }

  /** Return codes, scale, and what came before them: y, coordinates of variance 1. */
  encode(x) {
    const { row, exponent } = prepare(x);
    const root = round(Math.sqrt(this.dim));
    const norm = normOf(row);
    const gain = round(root / (norm || 1));
    const y = this.rotation.apply(row).map((v) => v * gain);
    const codes = Uint8Array.from(y, (v) => codeOf(v, this.bounds));
    const c = Float32Array.from(codes, (k) => this.levels[k]);
    const scale = norm && timesPower(round(this.factor(y, c, root) * norm), exponent);
    return { codes, scale, y, c, norm, exponent };
  }

  /** Return the scale of a vector of norm 1 (numerics.md section 7). */
  factor(y, c, root) {
    const a = treeSum(this.dim, (i) => round(y[i] * c[i]));
    const q = treeSum(this.dim, (i) => round(c[i] * c[i]));
    if (this.scale === "unbiased") return round(root / a);
    if (this.scale === "mse") return round(a / round(root * q));
    if (this.scale === "matched") return round(1 / round(Math.sqrt(q)));
    return round(1 / root);
  }

  decode({ codes, scale }) {
    return this.rotation.inverse(Float32Array.from(codes, (k) => this.levels[k])).map((v) => v * scale);
  }
}

/** A function that keeps its last results: sliders ask for the same rows and matrices again and again. */
function remembered(make, most = 12) {
  const kept = new Map();
  return (...words) => {
    const key = words.join();
    if (!kept.has(key)) {
      if (kept.size >= most) kept.delete(kept.keys().next().value);
      kept.set(key, make(...words));
    }
    return kept.get(key);
  };
}

/** Sample vectors of the page: rows of standard normals, whose directions are uniform on the sphere. */
const gaussianRows = remembered((seed, count, dim) => {
  const all = normals(derive(seed, 1000), count * dim);
  return Array.from({ length: count }, (_, i) => all.subarray(i * dim, (i + 1) * dim));
});

const dot = (a, b) => {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += a[i] * b[i];
  return sum;
};
