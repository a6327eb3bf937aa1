// The page of a fusion: the layers that its viewer offers, and the start of all parts.

function initialLayers() {
  return ["s0", "result"];
}

function pairName(pair) {
  return pair.id;
}

const pairTitle = pairName;

function shotName(number) {
  return `${number + 1} ${data.shots[number].name}${number ? "" : " (reference)"}`;
}

/** The layers of the fusion, as [group, [[key, name], …]]. */
function layerGroups(pair) {
  const origin = [["map", "sharpest shot (map)"], ["mask", "the paper’s focus mask"]].filter(([key]) => pair.layers[key]);
  return [
    ["Fused", [["result", "result"]]],
    ["Shots, aligned with the reference", data.shots.map((_, number) => [`s${number}`, shotName(number)])],
    ["Source of the pixels", origin],
  ];
}

/** Sentences about the two layers that are shown. */
function legendSentences(pair, keys) {
  const parts = [];
  if (keys.includes("map")) parts.push("Map: the color of the shot that is sharpest around each pixel, at the result’s exposure.");
  if (keys.includes("mask")) parts.push(`Focus mask: white where ${shotName(0)} has the larger local spatial frequency (19 × 19 px) at its own exposure, black where ${shotName(1)} has.`);
  if (keys.some((key) => key.startsWith("s"))) parts.push("Shots are shown at their own exposure; black lies outside a shot.");
  parts.push(`The pictures here are copies, WebP of quality ${pair.quality}.`);
  if (viewer.view === 0 && !isFull(pair)) parts.push(`The whole picture is reduced to ${pair.whole[0]} × ${pair.whole[1]} px; the cut-outs have full resolution.`);
  return parts;
}

function drawPairDetails() {
  const key = byId("map-key");
  key.hidden = ![viewer.left, viewer.right].includes("map");
  key.replaceChildren(...data.shots.map((shot, number) => make("li", {}, swatch(shot.color), ` ${shotName(number)}`)));
}

function swatch(color) {
  return makeSvg("svg", { class: "swatch", viewBox: "0 0 14 14", "aria-hidden": "true" },
    makeSvg("rect", { width: 14, height: 14, fill: color }));
}

for (const part of document.querySelectorAll(".needs-script")) part.hidden = false;
setUpViewer();
setUpMatches();
