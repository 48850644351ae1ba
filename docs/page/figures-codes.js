// Figures of the first step: the rotation, the levels, the code points, the bounds.

const FIGURES = {};
const DIMS = TABLES.dims;
const range = (name, label, values, value) => ({ kind: "range", name, label, values, value });
const choice = (name, label, values, value) => ({ kind: "choice", name, label, values, value });
const seedControl = { kind: "seed", name: "seed", label: "seed", value: 0 };

/** The density of Lemma 1 for a coordinate of variance 1, √dim times one of a unit vector. */
function density(x, dim) {
  const inside = 1 - (x * x) / dim;
  return inside > 0 ? Math.exp(TABLES.logDensity[dim] + ((dim - 3) / 2) * Math.log(inside)) : 0;
}

const curve = (dim, reach, count = 240) =>
  Array.from({ length: count + 1 }, (_, i) => {
    const x = -reach + (2 * reach * i) / count;
    return [x, density(x, dim)];
  });

const INPUTS = {
  "all in one place": (dim) => Float32Array.from({ length: dim }, (_, i) => (i === 0 ? 1 : 0)),
  "all coordinates equal": (dim) => new Float32Array(dim).fill(1),
  "falling, 1, ½, ⅓, …": (dim) => Float32Array.from({ length: dim }, (_, i) => 1 / (i + 1)),
  "a text's embedding": (dim) => TABLES.embeddings[0].vector.slice(0, dim),
};

/** Rotated coordinates of one vector under several rotations, times √dim; `count` or a few more. */
function rotatedCoordinates(x, seed, kind, count) {
  const dim = x.length, length = Math.sqrt(dot(x, x));
  const out = [];
  for (let s = 0; out.length < count; s++) {
    const key = derive(seed, 2000 + s);
    if (kind === "structured") {
      for (const v of new Rotation(dim, key).apply(x)) out.push((v * Math.sqrt(dim)) / length);
    } else {
      for (const row of haar(dim, key)) out.push((dot(row, x) * Math.sqrt(dim)) / length);
    }
  }
  return out;
}

FIGURES.rotation = {
  title: "One vector before and after the rotation",
  controls: [
    range("dim", "dimensions", [2, 3, 4, 8, 16, 32, 64, 128, 256], 64),
    choice("input", "vector", Object.keys(INPUTS), "all in one place"),
    choice("kind", "rotation", { dense: "dense, the paper's", structured: "structured, the library's" }, "dense"),
    seedControl,
  ],
  draw({ dim, input, kind, seed }, width) {
    const x = INPUTS[input](dim);
    const length = Math.sqrt(dot(x, x));
    const count = Math.max(dim, dim >= 256 ? 1024 : 3072);
    const y = rotatedCoordinates(x, seed, kind, count);
    const reach = Math.min(Math.sqrt(dim), 4);
    const cells = 40;
    const bars = histogram(y, -reach * 1.0001, reach * 1.0001, cells);
    const smooth = curve(dim, reach * 0.9995);
    const top = Math.min(1.6, 1.15 * Math.max(...bars.map((b) => b[2]), ...(dim > 2 ? smooth.map((p) => p[1]) : [0.9])));
    const before = new Chart({ width, height: 150, x: [0, dim], y: [-0.2, 1.05], xLabel: "coordinate", yLabel: "value" });
    before.bars(Array.from(x, (v, i) => [i, i + 1, v / length]), "s1");
    const after = new Chart({ width, x: [-reach, reach], y: [0, top], xLabel: "rotated coordinate × √dim", yLabel: "density" });
    after.bars(bars.map(([a, b, h]) => [a, b, Math.min(h, top)]), "s0").line(smooth.filter((p) => p[1] <= top), "s1");
    const edge = y.filter((v) => Math.abs(v) > 0.9 * Math.sqrt(dim)).length / y.length;
    const shape = dim === 2 ? "the arcsine law, crowded at both ends" : dim === 3 ? "flat" : dim < 16 ? "a flat bell" : "a bell around 0";
    const text =
      `${y.length.toLocaleString("en")} coordinates under ${Math.ceil(y.length / dim)} rotation${y.length > dim ? "s" : ""}; the law is ${shape}. ` +
      `${(100 * edge).toFixed(1)} % of them are above 0.9 of the vector's length.`;
    return {
      panels: [
        { title: "before", svg: before.svg(`The vector before rotation: ${input}, ${dim} coordinates.`) },
        { title: "after", svg: after.svg(text) },
      ],
      legend: [["s0 fill", "rotated coordinates, counted"], ["s1", "the law (Lemma 1)"]],
      text,
    };
  },
};

/** E(x − nearest level)² for coordinates of `dim` dimensions, by x = √dim·sin t and the midpoint rule; beyond 9 deviations there is nothing. */
function errorOf(level, dim, steps = 20000) {
  const bounds = boundaries(level);
  const end = Math.asin(Math.min(1, 9 / Math.sqrt(dim)));
  const constant = TABLES.logDensity[dim] + 0.5 * Math.log(dim);
  let error = 0, mass = 0;
  for (let i = 0; i < steps; i++) {
    const t = -end + (2 * end * (i + 0.5)) / steps;
    const weight = Math.exp(constant + (dim - 2) * Math.log(Math.cos(t)));
    const x = Math.sqrt(dim) * Math.sin(t);
    error += weight * (x - level[codeOf(x, bounds)]) ** 2;
    mass += weight;
  }
  return error / mass;
}

/** Evenly spaced levels with the step of least error, by golden section. */
function evenLevels(bits, dim) {
  const count = 2 ** bits;
  const of = (step) => Float32Array.from({ length: count }, (_, k) => (k - (count - 1) / 2) * step);
  const golden = (Math.sqrt(5) - 1) / 2;
  let low = 0.01, high = 3;
  for (let i = 0; i < 24; i++) {
    const a = high - golden * (high - low), b = low + golden * (high - low);
    if (errorOf(of(a), dim, 2000) < errorOf(of(b), dim, 2000)) high = b;
    else low = a;
  }
  return of((low + high) / 2);
}

FIGURES.levels = {
  title: "The law of a coordinate, and the levels that suit it",
  controls: [
    range("dim", "dimensions", DIMS, 128),
    range("bits", "bits", [1, 2, 3, 4, 5, 6], 3),
    choice("spacing", "levels", { lloyd: "Lloyd–Max (equation 4)", even: "evenly spaced, best step" }, "lloyd"),
  ],
  draw({ dim, bits, spacing }, width) {
    const level = spacing === "even" ? evenLevels(bits, dim) : levels(bits, dim);
    const bounds = boundaries(level);
    const reach = Math.min(Math.sqrt(dim), 4);
    const smooth = curve(dim, reach * 0.9995);
    const top = dim === 2 ? 0.9 : 1.15 * Math.max(...smooth.map((p) => p[1]));
    const chart = new Chart({ width, x: [-reach, reach], y: [0, top], xLabel: "coordinate × √dim", yLabel: "density" });
    for (const b of bounds) if (Math.abs(b) < reach) chart.rule(b, "faint");
    chart.line(smooth.filter((p) => p[1] <= top), "s1");
    chart.dots(Array.from(level).filter((v) => Math.abs(v) <= reach).map((v) => [v, 0]), "s0 big");
    const error = errorOf(level, dim);
    const words = Array.from(level.slice(level.length / 2), (v) => `±${v.toFixed(3)}`).join(", ");
    const text =
      `D = ${error.toPrecision(4)} (equation 4's optimum: ${TABLES.distortion[dim][bits - 1].toPrecision(4)}; ` +
      `D·4^bits = ${(error * 4 ** bits).toFixed(2)}). Levels: ${words}, divided by √dim.`;
    return {
      panels: [{ svg: chart.svg(`Density at ${dim} dimensions with ${2 ** bits} levels. ${text}`) }],
      legend: [["s1", "density"], ["s0 dot", "levels"], ["faint", "boundaries of cells"]],
      text,
    };
  },
};

FIGURES.points = {
  title: "Where the code points lie",
  controls: [range("dim", "dimensions", DIMS, 2), range("bits", "bits", [1, 2, 3, 4], 2), seedControl],
  draw({ dim, bits, seed }, width) {
    const q = new TurboQuant(dim, bits, { seed, scale: "paper" });
    const count = dim <= 3 ? 2000 : Math.max(60, Math.min(2000, Math.floor(120000 / dim)));
    const root = Math.sqrt(dim);
    const used = new Float64Array(2 ** bits);
    const lengths = [], cells = new Set(), unit = [];
    for (const x of gaussianRows(seed, count, dim)) {
      const { codes, c, y } = q.encode(x);
      codes.forEach((k) => used[k]++);
      lengths.push(Math.sqrt(dot(c, c)) / root);
      if (dim <= 3) {
        cells.add(codes.join());
        unit.push(Array.from(y, (v) => v / root));
      }
    }
    const panels = [];
    const half = width >= 600 ? Math.floor(width / 2) - 8 : width;
    const shell = moments(lengths);
    const all = 2 ** (bits * dim);
    let text = `Lengths of the code points: mean ${shell.mean.toFixed(3)}, deviation ${shell.std.toFixed(3)}; √(1 − D) = ${Math.sqrt(1 - TABLES.distortion[dim][bits - 1]).toFixed(3)}. `;
    if (dim === 2) {
      const chart = new Chart({ width: Math.min(half, 420), square: true, x: [-1.15, 1.15], y: [-1.15, 1.15], xLabel: "coordinate 1", yLabel: "coordinate 2" });
      const grid = [];
      for (const a of q.levels) for (const b of q.levels) grid.push([a / root, b / root]);
      const hit = new Set([...cells].map((key) => key.split(",").map((k) => q.levels[k] / root).join()));
      chart.circle(1, "s1");
      for (const b of q.bounds) chart.line([[b / root, -1.15], [b / root, 1.15]], "faint").line([[-1.15, b / root], [1.15, b / root]], "faint");
      chart.crosses(grid.filter((p) => !hit.has(p.join())), "s3").dots(grid.filter((p) => hit.has(p.join())), "s0 big");
      panels.push({ title: "the grid and the circle", svg: chart.svg(`Grid of ${all} code points and the unit circle; ${cells.size} are used.`) });
    } else if (dim === 3) {
      const chart = new Chart({ width: Math.min(half, 420), square: true, x: [-1.6, 1.6], y: [-1.6, 1.6], xLabel: "seen from the side", yLabel: "" });
      const seen = ([a, b, c]) => [0.8 * a - 0.6 * b, 0.3 * a + 0.4 * b + 0.866 * c];
      chart.circle(1, "s1");
      chart.dots([...cells].map((key) => seen(key.split(",").map((k) => q.levels[k] / root))), "s0 big");
      panels.push({ title: "used code points and the sphere", svg: chart.svg(`Used code points and the outline of the sphere; ${cells.size} of ${all} are used.`) });
    } else {
      const chart = new Chart({ width: half, x: [0, 1.3], y: [0, 1.1], xLabel: "distance of a code point from the centre", yLabel: "share (largest = 1)" });
      const bars = histogram(lengths, 0, 1.3, 65);
      const most = Math.max(...bars.map((b) => b[2]));
      chart.bars(bars.map(([a, b, h]) => [a, b, h / most]), "s0").rule(1, "s1", "the sphere");
      panels.push({ title: "distances from the centre", svg: chart.svg(text) });
    }
    if (dim <= 3) text += `${cells.size} of ${all} code points are used by ${count.toLocaleString("en")} directions.`;
    else text += `A coordinate's ${2 ** bits} cells are all used, the inner ones most; no vector of ${dim} coordinates has a code near the centre, and none needs one.`;
    const share = Array.from(used, (n) => n / (count * dim));
    const use = new Chart({
      width: half, x: [-0.5, share.length - 0.5], y: [0, 1.1 * Math.max(...share)], xLabel: "code of one coordinate", yLabel: "share of use",
      xTicks: share.map((_, k) => [k, bits === 4 && k % 3 ? "" : String(k)]),
    });
    use.bars(share.map((h, k) => [k - 0.42, k + 0.42, h]), "s2");
    panels.push({ title: "use of the levels", svg: use.svg(`Share of each code: ${share.map((h) => h.toFixed(2)).join(", ")}.`) });
    const legend = dim === 2
      ? [["s1", "the unit circle"], ["s0 dot", "code points that directions use"], ["s3 cross", "never used"]]
      : [["s1", dim === 3 ? "outline of the sphere" : "the unit sphere"], [dim === 3 ? "s0 dot" : "s0 fill", "code points"], ["s2 fill", "use of a coordinate's levels"]];
    return { panels, legend, text };
  },
};

FIGURES.bounds = {
  title: "Distortion against bits, between the bounds",
  controls: [
    range("dim", "dimensions", DIMS.filter((d) => d >= 8), 128),
    choice("scale", "scale", ["paper", "mse", "matched", "unbiased"], "paper"),
    seedControl,
  ],
  draw({ dim, scale, seed }, width) {
    const widths = [1, 2, 3, 4, 5, 6, 7, 8];
    const rows = gaussianRows(seed, Math.max(20, Math.min(200, Math.floor(30000 / dim))), dim);
    const measured = widths.map((bits) => {
      const q = new TurboQuant(dim, bits, { seed, scale });
      let sum = 0;
      for (const x of rows) {
        const { scale: s, y, c, norm, exponent } = q.encode(x);
        const n = norm * 2 ** exponent;
        let error = 0;
        for (let i = 0; i < dim; i++) error += ((c[i] * s) / n - y[i] / Math.sqrt(dim)) ** 2;
        sum += error;
      }
      return sum / rows.length;
    });
    const upper = widths.map((b) => [b, ((Math.sqrt(3) * Math.PI) / 2) * 4 ** -b]);
    const lower = widths.map((b) => [b, 4 ** -b]);
    const chart = new Chart({ width, height: 320, x: [0.8, 8.2], y: [1e-5, 1], log: true, xLabel: "bits a coordinate", yLabel: "distortion |x − x̂|²/|x|²", xTicks: widths.map((b) => [b, String(b)]) });
    chart.line(upper, "s1 dashed").line(lower, "s3 dotted");
    chart.line(widths.map((b) => [b, TABLES.distortion[dim][b - 1]]), "s0").dots(measured.map((d, i) => [widths[i], d]), "s0 big");
    const text =
      `${rows.length} random vectors, 1 to 8 bits: ${measured.map((d) => d.toPrecision(3)).join(", ")}. ` +
      `Times 4^bits: ${measured.map((d, i) => (d * 4 ** widths[i]).toFixed(2)).join(", ")}; Shannon's bound is 1, the paper's 2.72.`;
    return {
      panels: [{ svg: chart.svg(text) }],
      legend: [["s1 dashed", "paper's upper bound (Theorem 1)"], ["s0", "theory, paper's scale"], ["s0 dot", "measured here"], ["s3 dotted", "Shannon's lower bound (Theorem 3)"]],
      text,
    };
  },
};
