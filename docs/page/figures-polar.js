// The figure of PolarQuant: the recursion on a real vector, level by level.

const POLAR_BITS = { "4,2,2,2": "4, 2, 2, 2 (the paper's)", "4,3,2,2": "4, 3, 2, 2", "2,1,1,1": "2, 1, 1, 1", "4,4,4,4": "4, 4, 4, 4" };

FIGURES.polar = {
  title: "A sentence's embedding in polar form",
  controls: [
    choice("text", "embedding of", Object.fromEntries(TABLES.embeddings.map((e, i) => [i, e.text])), "0"),
    choice("bits", "bits of levels 1 to 4", POLAR_BITS, "4,2,2,2"),
    seedControl,
  ],
  draw({ text: which, bits, seed }, width) {
    const x = TABLES.embeddings[Number(which)].vector;
    const widths = bits.split(",").map(Number);
    const found = polarLevels(x, seed, widths);
    const side = width >= 480 ? Math.min(330, Math.floor(width / 2) - 8) : Math.min(width, 320);
    const size = 2 ** found.exponent;
    const panels = found.levels.map(({ pairs: prepared, table }, i) => {
      const pairs = prepared.map(([a, b]) => [a * size, b * size]);
      const most = 1.08 * Math.max(...pairs.flat().map(Math.abs));
      const low = i ? 0 : -most;
      const marks = (i ? [0, most / 1.08] : [-most / 1.08, 0, most / 1.08]).map((v) => [v, short(Number(v.toFixed(2)))]);
      const chart = new Chart({ width: side, square: true, x: [low, most], y: [low, most], xLabel: i ? "length a" : "coordinate a", xTicks: marks, yTicks: marks });
      for (const angle of rays(i, widths[i], table)) chart.line([[0, 0], edge(angle, most)], "faint");
      chart.dots(pairs, "s0 mid");
      const spread = i ? `, deviation ${moments(pairs.map(([a, b]) => Math.atan2(b, a))).std.toFixed(3)}` : "";
      const title = `level ${i + 1}: ${pairs.length} angles of ${widths[i]} bit${widths[i] > 1 ? "s" : ""}${spread}`;
      return { title, svg: chart.svg(`${title}; the points are pairs, the rays the boundaries of codes.`) };
    });
    const y = new Rotation(x.length, seed).apply(prepare(x).row);
    const back = polarDecoded(found);
    let error = 0;
    for (let i = 0; i < y.length; i++) error += (back[i] - y[i]) ** 2;
    error /= dot(y, y);
    const rate = (found.levels.reduce((sum, l) => sum + l.codes.length * l.width, 0) + 16 * found.radii.length) / x.length;
    const rows = found.levels.map(({ pairs, codes }, i) => [
      String(i + 1),
      pairs.slice(0, 8 >> i).map(([a, b]) => `${degrees(Math.atan2(b, a))}`).join(" "),
      codes.slice(0, 8 >> i).join(" "),
    ]);
    rows.push(["radius", (found.radii[0] * 2 ** found.exponent).toFixed(4), "kept in 16 bits"]);
    const text =
      `${rate} bits a coordinate in all, 1 of them for the ${found.radii.length} radii of 16 bits; |x − x̂|²/|x|² = ${error.toFixed(4)} for this vector. ` +
      `The table has the first 16 coordinates.`;
    return { panels, legend: [["s0 dot", "pairs"], ["faint", "boundaries of codes"]], table: { head: ["level", "angles", "codes"], rows }, text };
  },
};

/** Angles of the boundaries of a level. */
function rays(level, width, { boundCos, boundSin }) {
  if (level) return Array.from(boundCos, (c, k) => Math.atan2(boundSin[k], c));
  return Array.from({ length: 2 ** width }, (_, k) => (2 * Math.PI * k) / 2 ** width);
}

/** Where a ray leaves the square of half side most. */
function edge(angle, most) {
  const [c, s] = [Math.cos(angle), Math.sin(angle)];
  const t = most / Math.max(Math.abs(c), Math.abs(s));
  return [c * t, s * t];
}

const degrees = (angle) => `${Math.round(((angle * 180) / Math.PI + 360) % 360)}°`;
