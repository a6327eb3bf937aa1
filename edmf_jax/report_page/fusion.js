// What a fusion shows in the viewer: its shots, the result, and where that comes from.

function firstLayers() {
  return ["s0", "result"];
}

function nameOf(pair) {
  return pair.id;
}

const titleOf = nameOf;

function shotName(number) {
  return `${number + 1} ${data.shots[number].name}${number ? "" : " (reference)"}`;
}

/** The layers there are, as [group, [[key, name, absent], …]]. */
function layerGroups(pair) {
  const origin = [["map", "sharpest shot (map)"], ["mask", "the paper’s focus mask"]].filter(([key]) => pair.layers[key]);
  return [
    ["Fused", [["result", "result"]]],
    ["Shots, where the reference has them", data.shots.map((_, number) => [`s${number}`, shotName(number)])],
    ["Where it comes from", origin],
  ];
}

/** Sentences about the layers that are seen. */
function legendOf(pair, keys) {
  const parts = [];
  if (keys.includes("map")) parts.push("Map: the shot that is sharpest about each pixel at the result’s exposure, in its colour.");
  if (keys.includes("mask")) parts.push(`Focus mask: white where ${shotName(0)} has the larger local spatial frequency (19 × 19 px) as it came, black where ${shotName(1)} has.`);
  if (keys.some((key) => key.startsWith("s"))) parts.push("Shots have their own exposure; black is what a shot does not show.");
  parts.push(`Copies for looking: WebP of quality ${pair.quality}.`);
  if (viewer.view === 0 && !isFull(pair)) parts.push(`The whole picture is reduced to ${pair.whole[0]} × ${pair.whole[1]} px; the cut-outs are in full resolution.`);
  return parts;
}

function aboutPair() {
  const key = byId("map-key");
  key.hidden = ![viewer.left, viewer.right].includes("map");
  key.replaceChildren(...data.shots.map((shot, number) => make("li", {}, swatch(shot.colour), ` ${shotName(number)}`)));
}

function swatch(colour) {
  return makeSvg("svg", { class: "swatch", viewBox: "0 0 14 14", "aria-hidden": "true" },
    makeSvg("rect", { width: 14, height: 14, fill: colour }));
}

for (const part of document.querySelectorAll(".needs-script")) part.hidden = false;
setUpViewer();
setUpMatches();
