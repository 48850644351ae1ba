// A small chart in SVG, drawn at the width that it is shown at, so that its letters keep their size on a phone.

const MARGIN = { top: 10, right: 12, bottom: 40, left: 52 };
const escapeText = (text) => String(text).replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");

/** About count round numbers from low to high. */
function ticks(low, high, count) {
  const raw = (high - low) / count;
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = power * [1, 2, 5, 10].find((m) => m * power >= raw * 0.999);
  const found = [];
  for (let v = Math.ceil(low / step - 1e-9) * step; v <= high + step * 1e-9; v += step) found.push(Math.abs(v) < step * 1e-9 ? 0 : v);
  return found;
}

const powers = (low, high) => {
  const found = [];
  for (let e = Math.ceil(Math.log10(low)); 10 ** e <= high * 1.0001; e++) found.push(10 ** e);
  return found;
};

/** A number with three significant digits, and a proper minus. */
function short(v) {
  if (v === 0) return "0";
  const size = Math.abs(v);
  const text = size >= 0.001 && size < 1e5 ? String(Number(v.toPrecision(3))) : v.toExponential(1);
  return text.replace("-", "−");
}

class Chart {
  /** x and y are [low, high]; square keeps both at one scale; xTicks, yTicks are lists of [value, label]. */
  constructor({ width, height = 260, x, y, log = false, square = false, xLabel = "", yLabel = "", xTicks, yTicks }) {
    Object.assign(this, { width, height: square ? width : height, x, y, log, xLabel, yLabel, square, marks: [] });
    this.margin = square ? { top: 8, right: 8, bottom: 36, left: 44 } : MARGIN;
    if (square) this.height = width - this.margin.left - this.margin.right + this.margin.top + this.margin.bottom;
    const room = width < 420 ? 4 : 7;
    this.xTicks = xTicks || ticks(x[0], x[1], room).map((v) => [v, short(v)]);
    this.yTicks = yTicks || (log ? powers(y[0], y[1]) : ticks(y[0], y[1], 5)).map((v) => [v, log ? power(v) : short(v)]);
  }

  px(v) {
    const { left, right } = this.margin;
    return left + ((v - this.x[0]) / (this.x[1] - this.x[0])) * (this.width - left - right);
  }

  py(v) {
    const { top, bottom } = this.margin;
    const at = this.log
      ? Math.log(Math.max(v, 1e-300) / this.y[0]) / Math.log(this.y[1] / this.y[0])
      : (v - this.y[0]) / (this.y[1] - this.y[0]);
    return this.height - bottom - at * (this.height - top - bottom);
  }

  at(x, y) {
    return `${this.px(x).toFixed(1)},${this.py(y).toFixed(1)}`;
  }

  line(points, style) {
    this.marks.push(`<polyline class="line ${style}" points="${points.map(([x, y]) => this.at(x, y)).join(" ")}"/>`);
    return this;
  }

  /** Dots as one path of short round strokes: thousands cost one element. */
  dots(points, style) {
    const path = points.map(([x, y]) => `M${this.at(x, y)}h0`).join("");
    this.marks.push(`<path class="dots ${style}" d="${path}"/>`);
    return this;
  }

  crosses(points, style) {
    const path = points.map(([x, y]) => `M${this.at(x, y)}m-4,-4l8,8m0,-8l-8,8`).join("");
    this.marks.push(`<path class="line ${style}" d="${path}"/>`);
    return this;
  }

  /** Bars from the axis up: [from, to, height]. */
  bars(rows, style) {
    const floor = this.py(this.log ? this.y[0] : Math.max(0, this.y[0]));
    for (const [from, to, value] of rows) {
      const left = this.px(from), top = this.py(value);
      const box = `x="${left.toFixed(1)}" width="${Math.max(0.5, this.px(to) - left - 0.6).toFixed(1)}"`;
      const tall = `y="${Math.min(top, floor).toFixed(1)}" height="${Math.abs(floor - top).toFixed(1)}"`;
      this.marks.push(`<rect class="bar ${style}" ${box} ${tall}/>`);
    }
    return this;
  }

  /** A vertical line over the whole height, with a word at its top. */
  rule(x, style, word = "", end = false) {
    const at = this.px(x).toFixed(1);
    this.marks.push(`<line class="line ${style}" x1="${at}" x2="${at}" y1="${this.margin.top}" y2="${this.height - this.margin.bottom}"/>`);
    if (word) this.word(x, this.y[1], word, end, 12);
    return this;
  }

  word(x, y, word, end = false, down = 0) {
    const side = end ? -5 : 5;
    const place = `x="${(this.px(x) + side).toFixed(1)}" y="${(this.py(y) + down).toFixed(1)}"`;
    this.marks.push(`<text class="word" ${place} text-anchor="${end ? "end" : "start"}">${escapeText(word)}</text>`);
    return this;
  }

  circle(radius, style) {
    const [x, y] = [this.px(0), this.py(0)];
    this.marks.push(`<circle class="line ${style}" cx="${x}" cy="${y}" r="${(this.px(radius) - x).toFixed(1)}"/>`);
    return this;
  }

  /** The picture; summary is what a screen reader says in its place. */
  svg(summary) {
    const { width, height, margin } = this;
    const bottom = height - margin.bottom, right = width - margin.right;
    const across = this.xTicks.map(([v, label]) => {
      const at = this.px(v).toFixed(1);
      const grid = this.square ? "" : `<line class="grid" x1="${at}" x2="${at}" y1="${bottom}" y2="${bottom + 4}"/>`;
      return `${grid}<text class="tick" x="${at}" y="${bottom + 17}" text-anchor="middle">${label}</text>`;
    });
    const up = this.yTicks.map(([v, label]) => {
      const at = this.py(v).toFixed(1);
      const grid = `<line class="grid" x1="${margin.left}" x2="${right}" y1="${at}" y2="${at}"/>`;
      return `${grid}<text class="tick" x="${margin.left - 6}" y="${Number(at) + 4}" text-anchor="end">${label}</text>`;
    });
    const middle = (margin.top + bottom) / 2;
    const labels =
      `<text class="axis" x="${(margin.left + right) / 2}" y="${height - 6}" text-anchor="middle">${escapeText(this.xLabel)}</text>` +
      `<text class="axis" transform="translate(12 ${middle}) rotate(-90)" text-anchor="middle">${escapeText(this.yLabel)}</text>`;
    const base = `<line class="base" x1="${margin.left}" x2="${right}" y1="${bottom}" y2="${bottom}"/>`;
    return (
      `<svg role="img" aria-label="${escapeText(summary).replace(/"/g, "&quot;")}" width="${width}" height="${height}" ` +
      `viewBox="0 0 ${width} ${height}">${up.join("")}${across.join("")}${this.marks.join("")}${base}${labels}</svg>`
    );
  }
}

/** A power of ten as people write it. */
function power(v) {
  const e = Math.round(Math.log10(v));
  if (e >= -2 && e <= 3) return String(Number(v.toPrecision(3)));
  return `10${String(e).replace("-", "⁻").replace(/\d/g, (d) => "⁰¹²³⁴⁵⁶⁷⁸⁹"[d])}`;
}

/** Counts of values in equal cells, as bars of a density: [from, to, height]. */
function histogram(values, low, high, cells) {
  const counts = new Float64Array(cells);
  const width = (high - low) / cells;
  for (const v of values) {
    const cell = Math.min(cells - 1, Math.floor((v - low) / width));
    if (v >= low && v <= high) counts[cell]++;
  }
  return Array.from(counts, (n, i) => [low + i * width, low + (i + 1) * width, n / values.length / width]);
}

/** Mean and standard deviation. */
function moments(values) {
  let sum = 0, squares = 0;
  for (const v of values) sum += v;
  const mean = sum / values.length;
  for (const v of values) squares += (v - mean) ** 2;
  return { mean, std: Math.sqrt(squares / values.length) };
}
