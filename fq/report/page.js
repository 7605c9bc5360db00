"use strict";
(() => {
const data = JSON.parse(document.getElementById("data").textContent);
const {bits: BITS, tensors, curve, uniform, budget} = data;
const GRANULARITIES = ["tensor", "channel", "group"], CLIPS = ["minmax", "mse"];
const at = id => document.getElementById(id);
const body = at("rows"), rows = [...body.rows];

// Elements ------------------------------------------------------------------------------------------------------------

function element(name, attributes = {}, ...inner) {
  const svg = ["svg", "g", "path", "rect", "line", "circle", "text", "title"].includes(name);
  const made = svg ? document.createElementNS("http://www.w3.org/2000/svg", name) : document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...inner);
  return made;
}
const text = (x, y, told, anchor = "start", cls = "soft") => element("text", {x, y, "text-anchor": anchor, class: cls}, told);
const picture = (width, height, label, ...inner) =>
  element("svg", {viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": label}, ...inner);
const titled = (what, told) => (what.append(element("title", {}, told)), what);
const points = list => "M" + list.map(([x, y]) => `${x.toFixed(1)} ${y.toFixed(1)}`).join("L");
const dB = value => value === null || value === undefined ? "-" : value.toFixed(1);
const four = value => Number(value.toPrecision(3)).toString();
const group = name => name === "group" ? `group of ${data.group}` : name;

// The table -----------------------------------------------------------------------------------------------------------

function values(i) {
  const sqnr = tensors[i].sqnr, chosen = sqnr[at("granularity").value] || sqnr.tensor;
  return chosen ? chosen[CLIPS.indexOf(at("clip").value)] : [];
}
function fill() {
  for (const row of rows) {
    const found = values(+row.dataset.i);
    row.querySelectorAll(".dB").forEach((cell, j) => {
      cell.textContent = dB(found[j]);
      cell.dataset.v = found[j] ?? "";
    });
  }
  share();
}
function filter() {
  const wanted = at("name").value.toLowerCase(), kind = at("kind").value, least = at("least").value;
  for (const row of rows) {
    const one = tensors[+row.dataset.i], four = values(+row.dataset.i)[BITS.indexOf(4)];
    row.hidden = !(one.name.toLowerCase().includes(wanted) && (!kind || one.kind === kind)
      && (!least || (four !== undefined && four !== null && four < +least)));
    const inner = opened.get(row);
    if (inner) inner.hidden = row.hidden;
  }
}
function sort(head) {
  const down = head.getAttribute("aria-sort") === "ascending", column = head.cellIndex;
  for (const one of head.parentNode.cells) one.removeAttribute("aria-sort");
  head.setAttribute("aria-sort", down ? "descending" : "ascending");
  const key = row => {
    const told = row.cells[column].dataset.v;
    return told === undefined ? row.cells[column].textContent : told === "" ? null : +told;
  };
  const order = (a, b) => {
    const [x, y] = [key(a), key(b)];
    if (x === null || y === null) return (x === null) - (y === null);  // what is not known comes last
    return (down ? -1 : 1) * (typeof x === "string" ? x.localeCompare(y) : x - y) || a.dataset.i - b.dataset.i;
  };
  for (const row of [...rows].sort(order)) {
    body.append(row);
    if (opened.has(row)) row.after(opened.get(row));
  }
}

// A tensor, opened ----------------------------------------------------------------------------------------------------

const opened = new Map();
function toggle(row, scroll) {
  const button = row.querySelector("button");
  if (opened.has(row)) {
    opened.get(row).remove();
    opened.delete(row);
    button.setAttribute("aria-expanded", "false");
    return;
  }
  const panel = element("div", {class: "panel"});
  const inner = element("tr", {class: "open"}, element("td", {colspan: row.cells.length}, panel));
  opened.set(row, inner);
  row.after(inner);
  button.setAttribute("aria-expanded", "true");
  show(panel, tensors[+row.dataset.i]);
  if (scroll) row.scrollIntoView();
}
function show(panel, one) {
  panel.append(element("h3", {}, one.name), element("p", {class: "soft"}, one.told));
  if (!one.sqnr.tensor) return;
  const parts = [section("SQNR in dB by bits", lines(one)), distribution(one)];
  if (one.channels) parts.push(channels(one));
  panel.append(element("div", {class: "side"}, ...parts));
}
const section = (title, ...inner) => element("section", {}, element("h3", {}, title), ...inner);

function frame(width, height, x0, y0, lowest, highest) {
  const y = value => height - y0 - (value - lowest) / (highest - lowest || 1) * (height - y0 - 10), marks = [];
  const step = [1, 2, 5, 10, 20, 50, 100].find(n => (highest - lowest) / n <= 6) || 200;
  for (let value = Math.ceil(lowest / step) * step; value <= highest; value += step)
    marks.push(element("path", {class: "axis", d: `M${x0} ${y(value)}H${width - 6}`}), text(x0 - 4, y(value) + 4, value, "end"));
  return [y, marks];
}
const span = list => [Math.min(0, ...list), Math.max(10, ...list)];

function lines(one) {
  const drawn = [], all = Object.values(one.sqnr).flat(2).filter(value => value !== null).map(value => Math.min(value, 100));
  const [y, marks] = frame(360, 230, 34, 54, ...span(all));
  const x = bits => 44 + (bits - 2) / 6 * 300;
  GRANULARITIES.forEach((name, i) => (one.sqnr[name] || []).forEach((list, j) => {
    const known = BITS.map((bits, k) => [bits, list[k]]).filter(([, value]) => value !== null);
    if (!known.length) return;
    const path = element("path", {class: `line l${i}${j ? "" : " dash"}`, d: points(known.map(([b, v]) => [x(b), y(Math.min(v, 100))]))});
    drawn.push(titled(path, `${group(name)}, ${CLIPS[j]}: ` + known.map(([b, v]) => `${b} bits ${dB(v)} dB`).join(", ")));
  }));
  const legend = GRANULARITIES.filter(name => one.sqnr[name]).flatMap((name, i) => [
    element("path", {class: `line l${i}`, d: `M${44 + i * 100} 222h18`}), text(66 + i * 100, 226, group(name))]);
  const hint = text(354, 206, "dashed: minmax, solid: mse", "end");
  return picture(360, 230, `SQNR of ${one.name} by bits`, ...marks, ...BITS.map(b => text(x(b), 190, b, "middle")), ...drawn, ...legend, hint);
}

function distribution(one) {
  const bits = element("select", {"aria-label": "bits"}, ...BITS.map(b => element("option", {value: b}, `${b} bits`)));
  const clip = element("select", {"aria-label": "clip"}, ...CLIPS.map(c => element("option", {}, c)));
  bits.value = 4; clip.value = at("clip").value;
  const place = element("div");
  const draw = () => place.replaceChildren(histogram(one, BITS.indexOf(+bits.value), CLIPS.indexOf(clip.value)));
  bits.onchange = clip.onchange = draw;
  draw();
  return section("Distribution, grid and error, one scale", element("form", {}, bits, clip), place);
}

// The squared distance to the nearest level, in steps, integrated to t.
function integral(t, first, last) {
  const inside = Math.min(Math.max(t, first - .5), last + .5), level = Math.round(inside);
  const third = d => d ** 3 / 3;
  return level / 12 + third(inside - level) + third(Math.max(t, last + .5) - last) - third(first - Math.min(t, first - .5));
}
function histogram(one, i, j) {
  const {low, high, counts} = one.histogram, [scale, zero, qmin, qmax] = one.grids[j][i];
  const first = qmin - zero, last = qmax - zero, n = counts.length, wide = (high - low) / n || scale / 8;
  const left = Math.min(low, first * scale), right = Math.max(high, last * scale);
  const x = value => 10 + (value - left) / (right - left || 1) * 340;
  const most = Math.log1p(Math.max(...counts)), drawn = [], errors = [];
  for (let k = 0; k < n; k++) {
    const a = low + k * wide, b = a + wide;
    if (!counts[k]) continue;
    const h = Math.log1p(counts[k]) / most * 100;
    drawn.push(titled(element("rect", {class: "bar", x: x(a), y: 110 - h, width: Math.max(x(b) - x(a), .5), height: h}), `${four(a)} to ${four(b)}: ${counts[k]} values`));
    const mean = (integral(b / scale, first, last) - integral(a / scale, first, last)) / (b - a) * scale;
    errors.push([a, b, counts[k] * mean * scale ** 2, a > (last + .5) * scale || b < (first - .5) * scale]);
  }
  const worst = Math.max(...errors.map(e => e[2])) || 1;
  for (const [a, b, error, cut] of errors)
    drawn.push(element("rect", {class: cut ? "cut" : "err", x: x(a), y: 126, width: Math.max(x(b) - x(a), .5), height: error / worst * 70}));
  let ticks = "";
  for (let level = first; level <= last; level++) ticks += `M${x(level * scale).toFixed(2)} 113v9`;
  const ends = [first - .5, last + .5].map(end => element("line", {class: "end", x1: x(end * scale), x2: x(end * scale), y1: 4, y2: 200}));
  const told = `${dB(one.sqnr.tensor[j][i])} dB measured, ${dB(one.predicted[j][i])} from the distribution; ${(100 * one.clipped[j][i]).toPrecision(2)}% clipped`;
  return picture(360, 230, `distribution of ${one.name}`, ...drawn, element("path", {class: "grid", d: ticks}), ...ends,
    text(10, 14, "count, log"), text(10, 210, four(left)), text(350, 210, four(right), "end"), text(180, 210, "squared error", "middle"),
    text(180, 226, told, "middle", ""));
}

function channels(one) {
  const {absmax, step, far, worst} = one.channels, n = absmax.length, most = Math.max(...absmax) || 1, drawn = [];
  const wide = 344 / n, marked = new Set(far.map(channel => Math.floor(channel / step)));
  absmax.forEach((value, k) => {
    const name = step > 1 ? `channels ${k * step} to ${(k + 1) * step - 1}` : `channel ${k}`, h = value / most * 130, out = marked.has(k);
    drawn.push(titled(element("rect", {class: out ? "far" : "bar", x: 8 + k * wide, y: 150 - h, width: Math.max(wide * .85, .6), height: h}), `${name}: ${four(value)}${out ? ", an outlier" : ""}`));
    if (out) drawn.push(element("path", {class: "far", d: `M${8 + (k + .42) * wide} ${146 - h}l-3 -5h6z`}));
  });
  const outliers = far.length ? `▼ ${far.length} of ${one.channels.count} are wider than 4 times the median: ${far.slice(0, 8).join(", ")}${far.length > 8 ? ", …" : ""}.` : "None is wider than 4 times the median.";
  const told = worst.length ? ` Worst at 4 bits: ${worst.map(([channel, value]) => `${channel} (${dB(value)} dB)`).join(", ")}.` : "";
  return section("Largest magnitude by output channel", picture(360, 168, `largest magnitude by channel of ${one.name}`, ...drawn,
    text(8, 14, four(most)), text(8, 164, "0"), text(352, 164, one.channels.count - 1, "end")), element("p", {}, outliers + told));
}

// The whole file ------------------------------------------------------------------------------------------------------

function share() {
  const total = tensors.reduce((sum, one) => sum + (one.kind === "weight" ? one.size : 0), 0) || 1, drawn = [];
  let x = 0;
  tensors.forEach((one, i) => {
    if (one.kind !== "weight" || !one.size) return;
    const value = values(i)[BITS.indexOf(4)], wide = one.size / total * 720;
    const cls = value === undefined || value === null ? "q4" : `q${[10, 20, 30].filter(edge => value >= edge).length}`;
    const part = titled(element("rect", {class: cls, x, y: 0, width: wide, height: 26}), `${one.name}: ${one.size} elements, ${dB(value)} dB at 4 bits`);
    part.onclick = () => { const row = rows[i]; if (!opened.has(row)) toggle(row, true); };
    drawn.push(part);
    x += wide;
  });
  const names = ["under 10 dB", "10 to 20", "20 to 30", "above", "not measured"];
  const legend = names.map((name, i) => element("span", {}, element("i", {class: `swatch q${i}`}), name));
  at("share").replaceChildren(picture(720, 26, "elements by tensor, coloured by SQNR at 4 bits", element("g", {class: "share"}, ...drawn)),
    element("p", {class: "soft legend"}, ...legend));
}
function sizeQuality() {
  if (!curve.length) return;
  const known = [...curve, ...uniform].map(([, value]) => value);
  const [y, marks] = frame(360, 220, 34, 36, ...span(known)), x = bits => 44 + (bits - 2) / 6 * 300;
  const dots = uniform.map(([bits, value]) => titled(element("circle", {class: "dot", cx: x(bits), cy: y(value), r: 3.5}), `${bits} bits each: ${dB(value)} dB`));
  const chosen = budget ? [titled(element("circle", {class: "chosen", cx: x(budget.used), cy: y(budget.sqnr), r: 6}), `${budget.used.toFixed(2)} bits: ${dB(budget.sqnr)} dB`)] : [];
  at("curve").replaceChildren(picture(360, 220, "SQNR by bits a weight", ...marks, ...BITS.map(b => text(x(b), 198, b, "middle")),
    element("path", {class: "line l0", d: points(curve.map(([b, v]) => [x(b), y(v)]))}), ...dots, ...chosen,
    text(44, 214, "line: bits mixed; dots: equal bits" + (budget ? "; circle: the budget" : ""))));
}

rows.forEach(row => { row.querySelector("button").onclick = () => toggle(row); });
document.querySelectorAll("thead th").forEach(head => { head.querySelector("button").onclick = () => sort(head); });
at("granularity").onchange = at("clip").onchange = () => { fill(); filter(); };
at("name").oninput = at("kind").onchange = at("least").oninput = filter;
at("controls").onsubmit = event => event.preventDefault();
at("controls").hidden = false;
fill();
sizeQuality();
const asked = /^#t(\d+)$/.exec(location.hash);
if (asked && rows[+asked[1]]) toggle(rows[+asked[1]], true);
})();
