// Figures of inner products: the second step and what it costs, and the scale that changes ranking.

/** Pairs of unit vectors at a given inner product, float32: x random, q = rho·x + √(1 − rho²)·(a direction across x). */
function pairsAt(rho, seed, count, dim) {
  const rows = gaussianRows(seed, 2 * count, dim);
  return Array.from({ length: count }, (_, i) => {
    const a = rows[2 * i], b = rows[2 * i + 1];
    const length = Math.sqrt(dot(a, a)), along = dot(a, b) / (length * length);
    const across = Float64Array.from(b, (v, j) => v - along * a[j]);
    const other = Math.sqrt(dot(across, across));
    const x = Float32Array.from(a, (v) => v / length);
    const q = Float32Array.from(across, (v, j) => (rho * a[j]) / length + (Math.sqrt(1 - rho * rho) * v) / other);
    return { x, q };
  });
}

/** What estimates ⟨q, x⟩: name → [style, function of bits, dim, seed that returns (q, x) → estimate]. */
const ESTIMATORS = {
  "one step, paper's scale": ["s0", (bits, dim, seed) => scaled(new TurboQuant(dim, bits, { seed, scale: "paper" }))],
  "one step, unbiased scale": ["s2", (bits, dim, seed) => scaled(new TurboQuant(dim, bits, { seed }))],
  "two steps, Gaussian S": ["s1 dashed", (bits, dim, seed) => sketched(new TurboQuantProd(dim, bits, "gaussian", seed))],
  "two steps, orthogonal S": ["s3 dotted", (bits, dim, seed) => sketched(new TurboQuantProd(dim, bits, "orthogonal", seed))],
};

const scaled = (codec) => (q, x) => {
  const { c, scale } = codec.encode(x);
  return dot(codec.rotation.apply(q), c) * scale;
};

const sketched = (codec) => (q, x) => dot(codec.coarse.rotation.apply(q), codec.rotated(codec.encode(x)));

/** Theory of √dim·deviation at a right angle: of one step, and of two by projection. */
function theory(name, bits, dim) {
  const d = (b) => (b ? TABLES.distortion[dim][b - 1] : 1);
  if (name.includes("Gaussian")) return Math.sqrt((Math.PI / 2) * d(bits - 1));
  if (name.includes("orthogonal")) return Math.sqrt((Math.PI / 2 - 1) * d(bits - 1));
  if (name.includes("unbiased")) return Math.sqrt(d(bits) / (1 - d(bits)));
  return null;
}

FIGURES.residual = {
  title: "Errors of ⟨q, x⟩ with and without the second step",
  controls: [
    range("dim", "dimensions", [32, 64, 128, 256], 128),
    range("bits", "bits", [2, 3, 4, 5], 2),
    range("rho", "⟨q, x⟩", [0, 0.2, 0.4, 0.6, 0.8, 0.95], 0.8),
    seedControl,
  ],
  draw({ dim, bits, rho, seed }, width) {
    const pairs = pairsAt(rho, seed, dim > 128 ? 250 : 500, dim);
    const found = Object.entries(ESTIMATORS).map(([name, [style, make]]) => {
      const estimate = make(bits, dim, seed);
      const errors = pairs.map(({ q, x }) => estimate(q, x) - dot(q, x));
      return { name, style, errors, ...moments(errors) };
    });
    const reach = 3.2 * Math.max(...found.map((f) => f.std + Math.abs(f.mean) / 3));
    const lines = found.map((f) => histogram(f.errors, -reach, reach, 31));
    const top = 1.1 * Math.max(...lines.flat().map((b) => b[2]));
    const chart = new Chart({ width, x: [-reach, reach], y: [0, top], xLabel: `error of ⟨q, x⟩ = ${short(rho)}`, yLabel: "density" });
    chart.rule(0, "base");
    lines.forEach((bars, i) => chart.line(bars.map(([a, b, h]) => [(a + b) / 2, h]), found[i].style));
    const rows = found.map((f) => {
      const expected = rho === 0 ? theory(f.name, bits, dim) : null;
      return [f.name, signed(f.mean), f.std.toFixed(4), (f.std * Math.sqrt(dim)).toFixed(3), expected ? expected.toFixed(3) : "–"];
    });
    const text = `${pairs.length} pairs of unit vectors, one rotation. Theory is for ⟨q, x⟩ = 0.`;
    return {
      panels: [{ svg: chart.svg(`${text} ${found.map((f) => `${f.name}: mean ${f.mean.toFixed(4)}, deviation ${f.std.toFixed(4)}`).join("; ")}.`) }],
      legend: found.map((f) => [f.style, f.name]),
      table: { head: ["estimator", "mean", "deviation", "deviation·√dim", "theory"], rows },
      text,
    };
  },
};

const signed = (v) => (v < 0 ? "−" : "+") + Math.abs(v).toFixed(4);

const SCALES = { paper: "s0", mse: "s1 dashed", matched: "s3 dotted", unbiased: "s2" };

FIGURES.ranking = {
  title: "The error that a ranking sees, by scale",
  controls: [range("dim", "dimensions", [64, 128, 256, 384, 768], 128), range("bits", "bits", [1, 2, 3, 4, 5, 6], 4), seedControl],
  draw({ dim, bits, seed }, width) {
    const sizes = [0, 0.2, 0.4, 0.6, 0.8, 0.9, 0.95];
    const count = Math.max(60, Math.min(250, Math.floor(30000 / dim)));
    const codec = new TurboQuant(dim, bits, { seed });
    const root = round(Math.sqrt(dim));
    // The codes do not depend on the scale: each pair's estimates by all four.
    const estimatesAt = (rho, from) =>
      pairsAt(rho, from, count, dim).map(({ q, x }) => {
        const { c, y, norm, exponent } = codec.encode(x);
        const product = dot(codec.rotation.apply(q), c) * norm * 2 ** exponent;
        const of = Object.keys(SCALES).map((scale) => [scale, product * codec.factor.call({ dim, scale }, y, c, root)]);
        return { exact: dot(q, x), ...Object.fromEntries(of) };
      });
    const estimates = sizes.map((rho) => estimatesAt(rho, seed));
    const curves = Object.keys(SCALES).map((scale) => {
      // One factor for all estimates changes no order: the one that fits best is taken off first.
      const all = estimates.flat();
      const factor = all.reduce((s, e) => s + e.exact * e[scale], 0) / all.reduce((s, e) => s + e[scale] ** 2, 0);
      return sizes.map((rho, i) => [rho, Math.sqrt(dim) * moments(estimates[i].map((e) => factor * e[scale] - e.exact)).std]);
    });
    const top = 1.1 * Math.max(...curves.flat().map((p) => p[1]));
    const chart = new Chart({ width, x: [0, 1], y: [0, top], xLabel: "⟨q, x⟩ of unit vectors", yLabel: "deviation × √dim" });
    curves.forEach((points, i) => chart.line(points, Object.values(SCALES)[i]).dots(points, `${Object.values(SCALES)[i].split(" ")[0]} mid`));
    const near = estimatesAt(0.8, seed + 1), next = estimatesAt(0.79, seed + 2);
    const wrong = (scale) => {
      let swapped = 0;
      for (const a of near) for (const b of next) swapped += b[scale] > a[scale] ? 1 : 0;
      return swapped / (near.length * next.length);
    };
    const rows = Object.keys(SCALES).map((scale, i) => [scale, curves[i][0][1].toFixed(3), curves[i][4][1].toFixed(3), `${(100 * wrong(scale)).toFixed(1)} %`]);
    const text = `${count} pairs at each of ${sizes.length} inner products, the same codes for all four scales. The last column: how often a vector at 0.79 comes out before one at 0.80.`;
    return {
      panels: [{ svg: chart.svg(`${text} ${rows.map((r) => `${r[0]}: ${r[2]} at 0.8`).join("; ")}.`) }],
      legend: Object.entries(SCALES).map(([name, style]) => [style, name]),
      table: { head: ["scale", "error at 0", "error at 0.8", "wrong order"], rows },
      text,
    };
  },
};
