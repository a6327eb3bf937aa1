// Compares two methods pair by pair: a scatter plot, the worst and best pairs, and the paired tests.

const NO_METHOD = -1; // no second method: the x axis is the pair's place in the data set
const PLOT = { left: 62, right: 468, top: 14, bottom: 424 };
const MAX_CASES = 5;

const compare = { metric: 0, x: NO_METHOD, y: 0, selected: null, order: [] };
let openPair = () => {}; // shows a pair in the viewer; set by evaluation.js

function scoreOf(method, pair) {
  return toNumber(data.scores[compare.metric][method][pair]);
}

/** How much better y scored than x on a pair, positive if better; without x, y's score, negated if lower is better. */
function lead(pair) {
  const value = scoreOf(compare.y, pair) - (compare.x === NO_METHOD ? 0 : scoreOf(compare.x, pair));
  return direction(data.metrics[compare.metric]) * value;
}

function setUpCompare() {
  const preferred = data.metrics.findIndex((metric) => metric.name === "SSIM");
  compare.metric = Math.max(0, preferred);
  compare.x = data.methods.length > 1 ? 1 : NO_METHOD;
  const options = data.methods.map((name, k) => [k, name]);
  addOptions(byId("method-y"), options, compare.y);
  addOptions(byId("method-x"), [...options, [NO_METHOD, "– (place in the data set)"]], compare.x);
  addOptions(byId("metric"), data.metrics.map((m, i) => [i, m.name + arrow(m)]), compare.metric);
  for (const [id, key] of [["method-y", "y"], ["method-x", "x"], ["metric", "metric"]]) {
    byId(id).addEventListener("change", (event) => {
      compare[key] = Number(event.target.value);
      drawCompare();
    });
  }
  byId("scatter").addEventListener("keydown", scatterKey);
  byId("scatter").addEventListener("click", scatterClick);
  drawCompare();
}

function addOptions(select, options, chosen) {
  select.replaceChildren(...options.map(([value, text]) =>
    make("option", { value, selected: value === chosen }, text)));
}

function drawCompare() {
  compare.order = data.ids.map((_, pair) => pair).filter((pair) => Number.isFinite(lead(pair)));
  compare.order.sort((p, q) => lead(p) - lead(q));
  if (!compare.order.includes(compare.selected)) compare.selected = null;
  drawScatter();
  drawCases();
  drawTests();
  drawDetail();
}

function drawScatter() {
  const svg = byId("scatter");
  const metric = data.metrics[compare.metric];
  const isSingle = compare.x === NO_METHOD;
  const xs = compare.order.map((pair) => (isSingle ? pair + 1 : scoreOf(compare.x, pair)));
  const ys = compare.order.map((pair) => scoreOf(compare.y, pair));
  svg.replaceChildren();
  const left = data.ids.length - compare.order.length;
  byId("scatter-hint").textContent = scatterHint(left, isSingle);
  if (!compare.order.length) return;
  // With two methods both axes have the same range, so that points on the diagonal have equal scores.
  const rangeY = padded(isSingle ? ys : [...xs, ...ys]);
  const rangeX = isSingle ? padded(xs) : rangeY;
  const x = scale(rangeX, PLOT.left, PLOT.right);
  const y = scale(rangeY, PLOT.bottom, PLOT.top);
  drawAxes(svg, x, y, rangeX, rangeY, isSingle);
  if (!isSingle) drawDiagonal(svg, metric, x, y, rangeX);
  const shown = new Set(shownIndices.keys());
  const points = compare.order.map((pair, i) => makeSvg("circle", {
    id: `point-${pair}`, role: "option", "aria-selected": String(pair === compare.selected),
    "aria-label": describePair(pair), class: shown.has(pair) ? "shown" : "", cx: x(xs[i]), cy: y(ys[i]),
    r: shown.has(pair) ? 5.5 : 3.5,
  }, makeSvg("title", {}, describePair(pair))));
  // Points with pictures are drawn last, on top of the others.
  svg.append(...points.filter((p) => !p.classList.contains("shown")), ...points.filter((p) => p.classList.contains("shown")));
  markSelected();
}

function scatterHint(left, isSingle) {
  const parts = [shownIndices.size ? "Filled points have pictures below: click one, or use the arrow keys and Enter."
    : "Click a point, or use the arrow keys, to see its numbers."];
  if (!isSingle) parts.push("On the diagonal both methods score the same.");
  if (left) parts.push(`${left} of ${data.ids.length} pairs have no finite value here and are not drawn.`);
  return parts.join(" ");
}

function padded(values) {
  const low = Math.min(...values);
  const high = Math.max(...values);
  const margin = 0.05 * (high - low) || 0.05 * Math.abs(high) || 1;
  return [low - margin, high + margin];
}

function scale([low, high], start, end) {
  return (value) => start + ((value - low) / (high - low)) * (end - start);
}

function drawAxes(svg, x, y, rangeX, rangeY, isSingle) {
  const { left, right, top, bottom } = PLOT;
  const name = (method) => (method.length > 34 ? `${method.slice(0, 33)}…` : method);
  svg.append(makeSvg("rect", { class: "frame", x: left, y: top, width: right - left, height: bottom - top }));
  const marksX = ticks(...rangeX).filter((mark) => !isSingle || Number.isInteger(mark));
  for (const mark of marksX) {
    svg.append(makeSvg("line", { class: "grid", x1: x(mark), x2: x(mark), y1: top, y2: bottom }),
      makeSvg("text", { class: "tick", x: x(mark), y: bottom + 17, "text-anchor": "middle" },
        formatNumber(mark, false, isSingle ? 0 : tickDigits(marksX))));
  }
  const marksY = ticks(...rangeY);
  for (const mark of marksY) {
    svg.append(makeSvg("line", { class: "grid", x1: left, x2: right, y1: y(mark), y2: y(mark) }),
      makeSvg("text", { class: "tick", x: left - 6, y: y(mark) + 4, "text-anchor": "end" },
        formatNumber(mark, false, tickDigits(marksY))));
  }
  const metric = data.metrics[compare.metric].name;
  svg.append(makeSvg("text", { class: "axis", x: (left + right) / 2, y: bottom + 40, "text-anchor": "middle" },
    isSingle ? "place in the data set" : `${metric} of ${name(data.methods[compare.x])}`),
  makeSvg("text", { class: "axis", x: -(top + bottom) / 2, y: 14, "text-anchor": "middle", transform: "rotate(-90)" },
    `${metric} of ${name(data.methods[compare.y])}`));
}

function drawDiagonal(svg, metric, x, y, [low, high]) {
  svg.append(makeSvg("line", { class: "diagonal", x1: x(low), y1: y(low), x2: x(high), y2: y(high) }));
  if (metric.better === "none") return;
  const above = metric.better === "lower" ? compare.x : compare.y;
  const below = metric.better === "lower" ? compare.y : compare.x;
  svg.append(makeSvg("text", { class: "side", x: PLOT.left + 8, y: PLOT.top + 18 }, sideText(above)),
    makeSvg("text", { class: "side", x: PLOT.right - 8, y: PLOT.bottom - 10, "text-anchor": "end" }, sideText(below)));
}

function sideText(method) {
  const name = data.methods[method];
  return `${name.length > 22 ? `${name.slice(0, 21)}…` : name} better`;
}

function describePair(pair) {
  const value = (method) => `${data.methods[method]} ${formatNumber(data.scores[compare.metric][method][pair])}`;
  const name = data.metrics[compare.metric].name;
  if (compare.x === NO_METHOD) return `pair ${data.ids[pair]}: ${name} of ${value(compare.y)}`;
  return `pair ${data.ids[pair]}: ${name} of ${value(compare.y)}, ${value(compare.x)}`;
}

/** Selects a pair in the plot; with `open`, also opens its pictures if the page has them. */
function selectPair(pair, open) {
  compare.selected = pair;
  markSelected();
  drawDetail();
  if (open && shownIndices.has(pair)) openPair(pair);
}

function markSelected() {
  const svg = byId("scatter");
  svg.querySelector(".ring")?.remove();
  for (const point of svg.querySelectorAll("[aria-selected=true]")) point.setAttribute("aria-selected", "false");
  const point = compare.selected === null ? null : byId(`point-${compare.selected}`);
  if (!point) {
    svg.removeAttribute("aria-activedescendant");
    return;
  }
  point.setAttribute("aria-selected", "true");
  svg.setAttribute("aria-activedescendant", point.id);
  svg.append(makeSvg("circle", { class: "ring", cx: point.getAttribute("cx"), cy: point.getAttribute("cy"), r: 10 }));
}

function scatterKey(event) {
  if (event.altKey || event.ctrlKey || event.metaKey || !compare.order.length) return;
  const last = compare.order.length - 1;
  const at = compare.order.indexOf(compare.selected);
  const step = { ArrowRight: 1, ArrowUp: 1, ArrowLeft: -1, ArrowDown: -1 }[event.key];
  if (step) selectPair(compare.order[at < 0 ? (step > 0 ? 0 : last) : Math.min(last, Math.max(0, at + step))], false);
  else if (event.key === "Home") selectPair(compare.order[0], false);
  else if (event.key === "End") selectPair(compare.order[last], false);
  else if ((event.key === "Enter" || event.key === " ") && at >= 0) selectPair(compare.selected, true);
  else return;
  event.preventDefault();
}

/** Selects the nearest point within 22 px, about a fingertip, because points are small. */
function scatterClick(event) {
  const box = byId("scatter").getBoundingClientRect();
  const reach = (22 * 480) / box.width;
  const [px, py] = [((event.clientX - box.left) * 480) / box.width, ((event.clientY - box.top) * 480) / box.height];
  let nearest = null;
  let nearestDistance = reach;
  for (const pair of compare.order) {
    const point = byId(`point-${pair}`);
    const distance = Math.hypot(point.getAttribute("cx") - px, point.getAttribute("cy") - py);
    if (distance < nearestDistance) [nearest, nearestDistance] = [pair, distance];
  }
  if (nearest !== null) selectPair(nearest, true);
}

function drawCases() {
  const y = data.methods[compare.y];
  const against = compare.x === NO_METHOD ? "" : ` against ${data.methods[compare.x]}`;
  byId("worst-title").textContent = `Worst for ${y}${against}`;
  byId("best-title").textContent = `Best for ${y}${against}`;
  byId("worst").replaceChildren(...compare.order.slice(0, MAX_CASES).map(caseItem));
  byId("best").replaceChildren(...compare.order.slice(-MAX_CASES).reverse().map(caseItem));
}

function caseItem(pair) {
  const isShown = shownIndices.has(pair);
  const value = direction(data.metrics[compare.metric]) * lead(pair);
  const button = make("button", { type: "button", title: describePair(pair), "data-pair": data.ids[pair] },
    `pair ${data.ids[pair]} `, make("span", { class: "number" }, formatNumber(value, compare.x !== NO_METHOD)),
    make("span", { class: "mark" }, isShown ? " ▣ pictures" : ""));
  button.addEventListener("click", () => selectPair(pair, true));
  return make("li", {}, button);
}

function drawDetail() {
  const pair = compare.selected;
  if (pair === null) {
    byId("detail").replaceChildren();
    return;
  }
  const action = !shownIndices.has(pair)
    ? make("p", { class: "hint" }, "Its pictures are not in this page; edmf report --images N shows more pairs.")
    : make("p", {}, make("button", { type: "button" }, "Show its pictures"));
  action.querySelector("button")?.addEventListener("click", () => openPair(pair));
  byId("detail").replaceChildren(make("h3", {}, `Pair ${data.ids[pair]}`), action,
    make("div", { class: "scroll", role: "region", tabindex: 0, "aria-label": `Scores of pair ${data.ids[pair]}` },
      scoresTable(pair)));
}

function drawTests() {
  const isTested = compare.x !== NO_METHOD && compare.x !== compare.y;
  byId("tests").hidden = !isTested;
  if (!isTested) return;
  byId("tests-title").textContent = `${data.methods[compare.y]} − ${data.methods[compare.x]}`;
  byId("tests-body").replaceChildren(...data.metrics.map((metric, m) => {
    const test = data.tests.find((t) => t.metric === m && t.first + t.second === compare.x + compare.y
      && (t.first === compare.x || t.first === compare.y));
    const value = test?.difference ?? null;
    const difference = value === null ? null : value * (test.first === compare.y ? 1 : -1);
    const isClear = test && test.p !== null && test.p < 0.05 && metric.better !== "none";
    const winner = !isClear ? "–" : data.methods[difference * direction(metric) > 0 ? compare.y : compare.x];
    return make("tr", {}, make("th", { scope: "row" }, metric.name + arrow(metric)),
      make("td", {}, formatNumber(difference, true)), make("td", {}, formatP(test?.p ?? null)), make("td", {}, winner));
  }));
}

function formatP(p) {
  if (p === null) return "–";
  return p < 0.001 ? "< 0.001" : p.toFixed(3);
}
