// What an evaluation shows in the viewer: sources, truth, fused pictures, differences, scores.

function firstLayers(pair) {
  return ["a", pair.layers.m0 ? "m0" : "b"];
}

function nameOf(pair) {
  return `pair ${pair.id}`;
}

function titleOf(pair) {
  return `Pair ${pair.id} (${viewer.place + 1} of ${pairTexts.length})`;
}

function aboutPair(pair) {
  byId("pair-scores").replaceChildren(scoresTable(data.ids.indexOf(pair.id)));
}

/** The layers there are, as [group, [[key, name, absent], …]]. */
function layerGroups(pair) {
  const reference = pair.layers.truth ? "the truth" : "the sources’ mean";
  const method = (prefix) => data.methods.map((name, k) => [`${prefix}${k}`, name, pair.absent[`m${k}`]]);
  return [
    ["Sources", [["a", "source A"], ["b", "source B"]]],
    ["Truth", pair.layers.truth ? [["truth", "ground truth"]] : []],
    ["Fused by", method("m")],
    ["Sharper source", [["mask", "focus mask (white: A)", pair.layers.mask ? undefined : "picture too small"]]],
    [`Difference to ${reference}, ×${data.amplified}`, method("d").map(([key, name, absent]) => [key, `|Δ| ${name}`, absent])],
  ];
}

/** Sentences about the layers that are seen. */
function legendOf(pair, keys) {
  const parts = [`Copies for looking: WebP of quality ${pair.quality}; scores are of the originals.`];
  if (keys.some((key) => key.startsWith("d"))) {
    const reference = pair.layers.truth ? "the ground truth" : "the mean of the sources";
    parts.unshift(`Difference: distance to ${reference}, ${data.amplified} times enlarged: black 0, white ${Math.ceil(255 / data.amplified)} grey levels and more.`);
  }
  if (keys.includes("mask")) parts.unshift("Focus mask: white where source A has the larger local spatial frequency (19 × 19 px), black where source B has.");
  const whole = viewer.view === 0;
  if (whole && !isFull(pair)) parts.push(`The whole picture is reduced to ${pair.whole[0]} × ${pair.whole[1]} px; the cut-outs are in full resolution.`);
  return parts;
}
