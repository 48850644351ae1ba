// The papers' other codecs, as docs/numerics-papers.md states them: dense projections, TurboQuant_prod, PolarQuant.

/** Nearest integer, ties to even. */
function roundEven(v) {
  const down = Math.floor(v), rest = v - down;
  if (rest !== 0.5) return rest < 0.5 ? down : down + 1;
  return down % 2 ? down + 1 : down;
}

/** A Haar-random orthogonal matrix, rows of float64, by reflections (numerics-papers.md section 2): the paper's Π. */
function haar(dim, key) {
  const draws = normals(key, (dim * (dim + 1)) / 2);
  const q = Array.from({ length: dim }, () => new Float64Array(dim));
  let used = 0;
  for (let j = 1; j <= dim; j++) {
    const v = Float64Array.from(draws.subarray(used, used + j));
    const first = dim - j;
    used += j;
    q[first][first] = 1;
    const s = v[0] < 0 ? -1 : 1;
    let squares = v[0] * v[0];
    for (let i = 1; i < j; i++) squares += v[i] * v[i];
    v[0] = v[0] + s * Math.sqrt(squares);
    let length = v[0] * v[0];
    for (let i = 1; i < j; i++) length += v[i] * v[i];
    const tau = 2 / length;
    const w = new Float64Array(j);
    for (let i = 0; i < j; i++) {
      const row = q[first + i];
      for (let c = 0; c < j; c++) w[c] = i ? w[c] + v[i] * row[first + c] : v[0] * row[first + c];
    }
    for (let i = 0; i < j; i++) {
      const row = q[first + i], factor = tau * v[i];
      for (let c = 0; c < j; c++) row[first + c] = -s * (row[first + c] - factor * w[c]);
    }
  }
  return q;
}

/** dim random directions in fixed point, and the constant that makes their signs' estimate unbiased (section 3). */
class Projection {
  constructor(kind, dim, seed) {
    this.dim = dim;
    if (kind === "gaussian") {
      const g = normals(derive(seed, 256), dim * dim);
      let longest = 0;
      for (let r = 0; r < dim; r++) longest = Math.max(longest, normOf(g.subarray(r * dim, (r + 1) * dim)));
      const factor = round(32000 / longest);
      this.matrix = Int16Array.from(g, (v) => roundEven(round(v * factor)));
      this.step = round(longest / 32000);
      this.constant = round(Math.sqrt(Math.PI / 2) / dim);
    } else {
      const rows = haar(dim, derive(derive(seed, 257), 0));
      this.matrix = Int16Array.from({ length: dim * dim }, (_, i) => roundEven(32000 * rows[(i / dim) | 0][i % dim]));
      this.step = round(1 / 32000);
      let mean = dim % 2 ? 1 : 2 / Math.PI;
      for (let d = 2 - (dim % 2); d < dim; d += 2) mean = (mean * d) / (d + 1);
      this.constant = round(1 / (dim * mean));
    }
  }

  /** Exact integer products of a row with every direction; the value is product·(norm/32000)·step. */
  apply(row, norm) {
    const factor = round(32000 / (norm || 1));
    const fixed = Int16Array.from(row, (v) => roundEven(round(v * factor)));
    const out = new Int32Array(this.dim);
    for (let r = 0, at = 0; r < this.dim; r++) {
      let sum = 0;
      for (let i = 0; i < this.dim; i++, at++) sum += this.matrix[at] * fixed[i];
      out[r] = sum;
    }
    return out;
  }

  /** Σ_j sign_j·direction_j. */
  transposed(sign) {
    const sums = new Float64Array(this.dim);
    for (let r = 0, at = 0; r < this.dim; r++) for (let i = 0; i < this.dim; i++, at++) sums[i] += sign[r] * this.matrix[at];
    return Float64Array.from(sums, (v) => v * this.step);
  }
}

const projection = remembered((kind, dim, seed) => new Projection(kind, dim, seed));

/** TurboQuant_prod, Algorithm 2: levels of one bit less, then the signs of a projection of the residual, and its norm. */
class TurboQuantProd {
  constructor(dim, bits, kind, seed) {
    this.coarse = new TurboQuant(dim, bits - 1, { seed, scale: "paper" });
    this.projection = projection(kind, dim, seed);
    this.root = round(Math.sqrt(dim));
  }

  encode(x) {
    const { codes, scale, y, c, norm, exponent } = this.coarse.encode(x);
    const residual = y.map((v, i) => v - c[i]);
    const left = normOf(residual);
    const bits = Uint8Array.from(this.projection.apply(residual, left), (v) => (v > 0 ? 1 : 0));
    const length = timesPower(round(round(left * round(1 / this.root)) * norm), exponent);
    return { codes, signs: bits, scales: [scale, length], c };
  }

  /** The estimate of x among rotated coordinates: levels' part and sketch's. */
  rotated({ signs: bits, scales, c }) {
    const sketch = this.projection.transposed(Array.from(bits, (b) => 2 * b - 1));
    return Float64Array.from(c, (v, i) => v * scales[0] + sketch[i] * scales[1] * this.projection.constant);
  }
}

/** PolarQuant's codes of a vector, level by level, with the pairs that they are codes of (section 6). */
function polarLevels(x, seed, bits) {
  const { row, exponent } = prepare(x);
  let r = new Rotation(x.length, seed).apply(row).map((v) => (Math.abs(v) < 2 ** -40 ? 0 : v));
  const found = [];
  bits.forEach((width, i) => {
    const pairs = Array.from({ length: r.length / 2 }, (_, j) => [r[2 * j], r[2 * j + 1]]);
    const table = TABLES.angles[i][width - 1];
    const codes = pairs.map(([a, b]) => (i ? counted(a, b, table) : firstCode(a, b, width)));
    r = Float32Array.from(pairs, ([a, b]) => Math.sqrt(round(round(a * a) + round(b * b))));
    found.push({ pairs, codes, table, width });
  });
  return { levels: found, radii: r, exponent };
}

/** Boundaries below the angle of (a, b), by comparing b·cos β with a·sin β: no angle is computed. */
function counted(a, b, { boundCos, boundSin }) {
  let code = 0;
  for (let k = 0; k < boundCos.length; k++) code += round(b * boundCos[k]) > round(a * boundSin[k]) ? 1 : 0;
  return code;
}

/** Which of 2^width equal sectors (a, b) lies in: the quadrant by signs, then the sector in it. */
function firstCode(a, b, width) {
  const second = a <= 0 && b > 0, third = a < 0 && b <= 0, fourth = a >= 0 && b < 0;
  const quadrant = second ? 1 : third ? 2 : fourth ? 3 : 0;
  if (width === 1) return quadrant >> 1;
  const swap = second || fourth;
  const inner = width > 2 ? counted(Math.abs(swap ? b : a), Math.abs(swap ? a : b), TABLES.angles[0][width - 3]) : 0;
  return quadrant * 2 ** (width - 2) + inner;
}

/** The angle that a code of a level decodes to. */
function centroid(level, code, width) {
  if (!level) return ((code + 0.5) * 2 * Math.PI) / 2 ** width;
  const { cos, sin } = TABLES.angles[level][width - 1];
  return Math.atan2(sin[code], cos[code]);
}

/** What the codes decode to, among rotated coordinates. */
function polarDecoded({ levels: found, radii }) {
  let r = Float64Array.from(radii);
  for (let i = found.length - 1; i >= 0; i--) {
    const { codes, width } = found[i];
    const next = new Float64Array(2 * r.length);
    codes.forEach((code, j) => {
      const angle = centroid(i, code, width);
      next[2 * j] = r[j] * Math.cos(angle);
      next[2 * j + 1] = r[j] * Math.sin(angle);
    });
    r = next;
  }
  return r;
}
