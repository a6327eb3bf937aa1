// The page of an evaluation: the layers that its viewer offers, the sorting of its table, and the start of all parts.

function initialLayers(pair) {
  return ["a", pair.layers.m0 ? "m0" : "b"];
}

function pairName(pair) {
  return `pair ${pair.id}`;
}

function pairTitle(pair) {
  return `Pair ${pair.id} (${viewer.index + 1} of ${pairElements.length})`;
}

function drawPairDetails(pair) {
  byId("pair-scores").replaceChildren(scoresTable(data.ids.indexOf(pair.id)));
}

/** The layers of a pair, as [group, [[key, name, reason if it is absent], …]]. */
function layerGroups(pair) {
  const reference = pair.layers.truth ? "the truth" : "the sources’ mean";
  const method = (prefix) => data.methods.map((name, k) => [`${prefix}${k}`, name, pair.absent[`m${k}`]]);
  return [
    ["Sources", [["a", "source A"], ["b", "source B"]]],
    ["Truth", pair.layers.truth ? [["truth", "ground truth"]] : []],
    ["Fused by", method("m")],
    ["Sharper source", [["mask", "focus mask (white: A)", pair.layers.mask ? undefined : "picture too small"]]],
    [`Difference to ${reference}, ×${data.differenceGain}`, method("d").map(([key, name, absent]) => [key, `|Δ| ${name}`, absent])],
  ];
}

/** Sentences about the two layers that are shown. */
function legendSentences(pair, keys) {
  const parts = [`The pictures here are copies, WebP of quality ${pair.quality}; the scores are of the originals.`];
  if (keys.some((key) => key.startsWith("d"))) {
    const reference = pair.layers.truth ? "the ground truth" : "the mean of the sources";
    parts.unshift(`Difference: absolute distance to ${reference}, multiplied by ${data.differenceGain}: black is 0, white is ${Math.ceil(255 / data.differenceGain)} gray levels or more.`);
  }
  if (keys.includes("mask")) parts.unshift("Focus mask: white where source A has the larger local spatial frequency (19 × 19 px), black where source B has.");
  const whole = viewer.view === 0;
  if (whole && !isFull(pair)) parts.push(`The whole picture is reduced to ${pair.whole[0]} × ${pair.whole[1]} px; the cut-outs have full resolution.`);
  return parts;
}

function setUpSorting() {
  const table = byId("means");
  const body = table.tBodies[0];
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => head.querySelector("button")?.addEventListener("click", () => {
    const better = direction(data.metrics[column - 1]) > 0 ? "descending" : "ascending";
    const worse = better === "descending" ? "ascending" : "descending";
    const order = head.getAttribute("aria-sort") === better ? worse : better; // first click: best first; second click: worst first
    for (const other of heads) if (other.hasAttribute("aria-sort")) other.setAttribute("aria-sort", "none");
    head.setAttribute("aria-sort", order);
    const value = (row) => {
      const text = row.cells[column].dataset.value;
      return text === "" ? NaN : Number(text);
    };
    const rows = [...body.rows].sort((p, q) => {
      const [a, b] = [value(p), value(q)];
      if (Number.isNaN(a) || Number.isNaN(b)) return Number.isNaN(a) - Number.isNaN(b); // rows without a value come last
      return order === "descending" ? b - a : a - b;
    });
    body.append(...rows);
  }));
}

for (const part of document.querySelectorAll(".needs-script")) part.hidden = false;
pairElements.forEach((_, index) => shownIndices.set(data.ids.indexOf(pairRecord(index).id), index));
setUpSorting();
setUpViewer();
setUpCompare();

openPair = (pair) => {
  showPair(shownIndices.get(pair));
  // Put the two compared methods under the slider.
  setViewer({ left: compare.x === NO_METHOD ? "a" : `m${compare.x}`, right: `m${compare.y}` });
  byId("pair-title").focus({ preventScroll: true });
  byId("pictures").scrollIntoView({ block: "start" });
};
