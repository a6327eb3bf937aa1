// What both parts of the page use: the data, elements, numbers.

const data = JSON.parse(document.getElementById("data").textContent);
// Parsed when a pair is first shown: most of the page's bytes are here.
const pairTexts = [...document.querySelectorAll("script.pair")];
const pairCache = new Map();

function shownPair(place) {
  if (!pairCache.has(place)) pairCache.set(place, JSON.parse(pairTexts[place].textContent));
  return pairCache.get(place);
}

const byId = (id) => document.getElementById(id);

/** An HTML element; text is always text, never markup. */
function make(tag, attributes = {}, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

function makeSvg(tag, attributes = {}, ...children) {
  return fill(document.createElementNS("http://www.w3.org/2000/svg", tag), attributes, children);
}

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== false && value !== null) element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children);
  return element;
}

/** A score for a reader; values are numbers, null (undefined), "inf" and "-inf". */
function show(value, signed = false, digits = 3) {
  if (value === null || value === undefined || Number.isNaN(value)) return "–";
  if (value === "inf" || value === Infinity) return "∞";
  if (value === "-inf" || value === -Infinity) return "−∞";
  const text = Math.abs(value).toFixed(digits);
  const isZero = Number(text) === 0;
  return (value < 0 && !isZero ? "−" : signed && !isZero ? "+" : "") + text;
}

function arrow(metric) {
  return { higher: " ↑", lower: " ↓" }[metric.better] ?? "";
}

/** +1 where more is better, −1 where less is; a metric without a better side counts as the former. */
function direction(metric) {
  return metric.better === "lower" ? -1 : 1;
}

/** All scores of one pair: a row for each method, the best of a column bold. */
function scoresTable(pair) {
  const head = make("tr", {}, make("th", { scope: "col" }, "Method"),
    ...data.metrics.map((m) => make("th", { scope: "col" }, m.name + arrow(m))));
  const best = data.metrics.map((metric, m) => {
    const column = data.methods.map((_, k) => comparable(data.scores[m][k][pair]));
    const known = column.filter((value) => !Number.isNaN(value)).map((value) => value * direction(metric));
    return metric.better === "none" || known.length < 2 ? NaN : Math.max(...known) * direction(metric);
  });
  const rows = data.methods.map((name, k) => make("tr", {}, make("th", { scope: "row" }, name),
    ...data.metrics.map((_, m) => {
      const value = data.scores[m][k][pair];
      return make("td", {}, comparable(value) === best[m] ? make("strong", {}, show(value)) : show(value));
    })));
  return make("table", {}, make("thead", {}, head), make("tbody", {}, ...rows));
}

function comparable(value) {
  if (value === "inf") return Infinity;
  if (value === "-inf") return -Infinity;
  return value ?? NaN;
}

/** Round numbers within [low, high], about five. */
function ticks(low, high) {
  if (!(high > low)) return [low];
  const rough = (high - low) / 5;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((size) => size >= rough);
  const found = [];
  for (let i = Math.ceil(low / step - 1e-9); i * step <= high + step * 1e-9; i += 1) found.push(i * step);
  return found;
}

function tickDigits(marks) {
  return marks.length < 2 ? 3 : Math.max(0, -Math.floor(Math.log10(marks[1] - marks[0]) + 1e-9));
}
