// What all scripts use: the page's data, HTML and SVG elements, numbers.

const data = JSON.parse(document.getElementById("data").textContent);
// A pair's JSON is parsed when the pair is first shown: it holds most of the page's bytes.
const pairElements = [...document.querySelectorAll("script.pair")];
const pairCache = new Map();

/** A pair's pictures by its index among the pairs with pictures. */
function pairRecord(index) {
  if (!pairCache.has(index)) pairCache.set(index, JSON.parse(pairElements[index].textContent));
  return pairCache.get(index);
}

const byId = (id) => document.getElementById(id);

/** An HTML element; children that are strings become text, never markup. */
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

/** A score as text; a value is a number, null (undefined score), "inf" or "-inf". */
function formatNumber(value, signed = false, digits = 3) {
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

/** −1 if lower values of a metric are better, else +1. */
function direction(metric) {
  return metric.better === "lower" ? -1 : 1;
}

/** The table of a pair's scores: a row for each method, the best value of each column in bold. */
function scoresTable(pair) {
  const head = make("tr", {}, make("th", { scope: "col" }, "Method"),
    ...data.metrics.map((m) => make("th", { scope: "col" }, m.name + arrow(m))));
  const best = data.metrics.map((metric, m) => {
    const column = data.methods.map((_, k) => toNumber(data.scores[m][k][pair]));
    const known = column.filter((value) => !Number.isNaN(value)).map((value) => value * direction(metric));
    return metric.better === "none" || known.length < 2 ? NaN : Math.max(...known) * direction(metric);
  });
  const rows = data.methods.map((name, k) => make("tr", {}, make("th", { scope: "row" }, name),
    ...data.metrics.map((_, m) => {
      const value = data.scores[m][k][pair];
      return make("td", {}, toNumber(value) === best[m] ? make("strong", {}, formatNumber(value)) : formatNumber(value));
    })));
  return make("table", {}, make("thead", {}, head), make("tbody", {}, ...rows));
}

/** A score as a number; NaN for an undefined one. */
function toNumber(value) {
  if (value === "inf") return Infinity;
  if (value === "-inf") return -Infinity;
  return value ?? NaN;
}

/** About five multiples of 1, 2 or 5 times a power of ten within [low, high]. */
function ticks(low, high) {
  if (!(high > low)) return [low];
  const rough = (high - low) / 5;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((size) => size >= rough);
  const found = [];
  for (let i = Math.ceil(low / step - 1e-9); i * step <= high + step * 1e-9; i += 1) found.push(i * step);
  return found;
}

/** Decimals that tell the marks of an axis apart. */
function tickDigits(marks) {
  return marks.length < 2 ? 3 : Math.max(0, -Math.floor(Math.log10(marks[1] - marks[0]) + 1e-9));
}
