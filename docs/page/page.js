// Wiring: controls are made from what a figure lists, and every change draws the figure anew.

/** One control: { node, value() }. */
function makeControl(spec, id, changed) {
  const label = document.createElement("label");
  const node = document.createElement("div");
  label.htmlFor = id;
  label.textContent = spec.label;
  node.className = `control ${spec.kind}`;
  const input = document.createElement(spec.kind === "choice" ? "select" : "input");
  input.id = id;
  input.name = spec.name;
  node.append(label, input);
  if (spec.kind === "range") {
    const shown = document.createElement("output");
    const value = () => spec.values[Number(input.value)];
    const show = () => {
      shown.textContent = String(value());
      input.setAttribute("aria-valuetext", String(value()));
    };
    Object.assign(input, { type: "range", min: 0, max: spec.values.length - 1, step: 1, value: spec.values.indexOf(spec.value) });
    shown.htmlFor = id;
    label.append(" ", shown);
    input.addEventListener("input", () => (show(), changed()));
    show();
    return { node, value };
  }
  if (spec.kind === "choice") {
    const entries = Array.isArray(spec.values) ? spec.values.map((v) => [v, v]) : Object.entries(spec.values);
    for (const [value, name] of entries) input.add(new Option(name, value, false, value === spec.value));
    input.addEventListener("input", changed);
    return { node, value: () => input.value };
  }
  Object.assign(input, { type: "number", min: 0, max: 999999, step: 1, value: spec.value, inputMode: "numeric" });
  const next = document.createElement("button");
  next.type = "button";
  next.textContent = "another";
  next.setAttribute("aria-label", "another seed");
  const value = () => Math.min(999999, Math.max(0, Math.floor(Number(input.value)) || 0));
  next.addEventListener("click", () => ((input.value = value() + 1), changed()));
  input.addEventListener("input", changed);
  node.append(next);
  return { node, value };
}

const styleSample = (style) =>
  `<svg class="sample" width="26" height="12" aria-hidden="true">${
    style.includes("fill") ? `<rect class="bar ${style}" x="6" y="1" width="14" height="10"/>`
    : style.includes("cross") ? `<path class="line ${style}" d="M9,2l8,8m0,-8l-8,8"/>`
    : style.includes("dot") && !style.includes("dotted") ? `<path class="dots big ${style}" d="M13,6h0"/>`
    : `<polyline class="line ${style}" points="1,6 25,6"/>`
  }</svg>`;

/** Fill a figure's place: title, controls, drawing, legend, table, words. */
function mount(place) {
  const name = place.dataset.figure, figure = FIGURES[name];
  const part = (tag, className, text = "") => Object.assign(document.createElement(tag), { className, textContent: text });
  const caption = part("figcaption", "", figure.title);
  const controls = part("div", "controls");
  const panels = part("div", "panels");
  const legend = part("ul", "legend");
  const table = part("div", "table");
  const words = part("p", "words");
  words.setAttribute("aria-live", "polite");
  caption.id = `${place.id}-title`;
  place.setAttribute("aria-labelledby", caption.id);
  let waiting = 0;
  const draw = () => {
    waiting = 0;
    const state = Object.fromEntries(made.map(([key, control]) => [key, control.value()]));
    const drawn = figure.draw(state, Math.max(280, Math.min(760, panels.clientWidth || 680)));
    panels.innerHTML = drawn.panels.map(({ title, svg }) => `<div class="panel">${title ? `<p>${escapeText(title)}</p>` : ""}${svg}</div>`).join("");
    legend.innerHTML = drawn.legend.map(([style, label]) => `<li>${styleSample(style)} ${escapeText(label)}</li>`).join("");
    table.innerHTML = drawn.table ? htmlTable(drawn.table) : "";
    words.textContent = drawn.text;
  };
  const changed = () => {
    // One drawing a frame, however many events a slider sends.
    if (!waiting) waiting = setTimeout(draw, 16);
  };
  const made = figure.controls.map((spec) => [spec.name, makeControl(spec, `${place.id}-${spec.name}`, changed)]);
  controls.append(...made.map(([, control]) => control.node));
  place.replaceChildren(caption, controls, panels, legend, table, words);
  draw();
  return draw;
}

function htmlTable({ head, rows }) {
  const line = (cells, tag) => `<tr>${cells.map((c) => `<${tag}>${escapeText(c)}</${tag}>`).join("")}</tr>`;
  return `<table><thead>${line(head, "th")}</thead><tbody>${rows.map((r) => line(r, "td")).join("")}</tbody></table>`;
}

const redraws = Array.from(document.querySelectorAll("figure[data-figure]"), mount);
let shownWidth = document.documentElement.clientWidth;
addEventListener("resize", () => {
  if (document.documentElement.clientWidth === shownWidth) return; // a phone's address bar changes the height only
  shownWidth = document.documentElement.clientWidth;
  redraws.forEach((draw) => draw());
});

// For the console, and for the tests that hold these functions to the library.
window.turboquant = { TABLES, TurboQuant, TurboQuantProd, Rotation, FIGURES, gaussianRows, pairsAt, haar, normals, derive, levels, errorOf, polarLevels, polarDecoded, dot };
