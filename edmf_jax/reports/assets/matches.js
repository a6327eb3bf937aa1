// Draws matching points between the reference and a shot, both unaligned.

const matching = { shot: 1, view: "lines", points: [] };
const GAP = 24; // between the pictures, in units of the drawing, where each picture's longer side is 1000
const REACH_PX = 24; // the pointer picks a point within this distance

function setUpMatches() {
  const shots = pairRecord(0).matches.flatMap((lines, number) => (lines.length ? [number] : []));
  byId("registration").hidden = byId("to-matches").hidden = !shots.length;
  if (!shots.length) return;
  [matching.shot] = shots;
  const select = byId("match-shot");
  select.replaceChildren(...shots.map((number) => make("option", { value: number }, shotName(number))));
  byId("match-shot-label").hidden = shots.length === 1;
  select.addEventListener("change", () => {
    matching.shot = Number(select.value);
    drawMatches();
  });
  makeRadios(byId("match-views"), "match-view", [["lines", "lines"], ["points", "points"]], (value) => {
    matching.view = value;
    drawMatches();
  });
  const svg = byId("matches");
  svg.addEventListener("pointermove", pickMatch);
  svg.addEventListener("pointerdown", pickMatch);
  svg.addEventListener("pointerleave", () => markMatch(null));
  let width = 0;
  new ResizeObserver(() => {
    if (svg.clientWidth === width) return; // drawing changes the height only
    width = svg.clientWidth;
    drawMatches();
  }).observe(svg);
}

/** Sizes and positions of both pictures: side by side, or one below the other if that makes them larger. */
function arrangePictures() {
  const svg = byId("matches");
  const sizes = [0, matching.shot].map((number) => {
    const [width, height] = data.shots[number].size;
    const longer = Math.max(width, height);
    return [(1000 * width) / longer, (1000 * height) / longer];
  });
  const [[w, h], [v, k]] = sizes;
  const ways = [
    { at: [[0, 0], [w + GAP, 0]], width: w + GAP + v, height: Math.max(h, k) },
    { at: [[0, 0], [0, h + GAP]], width: Math.max(w, v), height: h + GAP + k },
  ];
  for (const way of ways) way.scale = Math.min(svg.clientWidth / way.width, (0.8 * window.innerHeight) / way.height);
  return { sizes, ...(ways[0].scale >= ways[1].scale ? ways[0] : ways[1]) };
}

function drawMatches() {
  const pair = pairRecord(0);
  const svg = byId("matches");
  const { sizes, at, width, height, scale } = arrangePictures();
  svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
  svg.setAttribute("height", height * scale);
  svg.setAttribute("class", matching.view);
  svg.setAttribute("aria-label", `Matching points between ${shotName(0)} and ${shotName(matching.shot)}`);
  const pictures = [0, matching.shot].map((number, i) => makeSvg("image", { href: dataUri(pair.unaligned[number]),
    x: at[i][0], y: at[i][1], width: sizes[i][0], height: sizes[i][1], preserveAspectRatio: "none" }));
  const toDrawing = (i, x, y) => [at[i][0] + (x / data.positionUnits) * sizes[i][0], at[i][1] + (y / data.positionUnits) * sizes[i][1]];
  matching.points = pair.matches[matching.shot].map(([x, y, u, v]) => {
    const ends = [toDrawing(0, x, y), toDrawing(1, u, v)];
    const half = data.positionUnits / 2;
    const hue = (Math.atan2(y - half, x - half) * 180) / Math.PI + 180; // by direction from the middle, so that neighbors have similar colors
    const color = `hsl(${Math.round(hue)}, 95%, 62%)`;
    const element = makeSvg("g", { stroke: color, fill: color },
      makeSvg("line", { x1: ends[0][0], y1: ends[0][1], x2: ends[1][0], y2: ends[1][1] }),
      ...ends.map(([cx, cy]) => makeSvg("circle", { cx, cy, r: 3 / scale })));
    return { ends, element };
  });
  svg.replaceChildren(...pictures, ...matching.points.map(({ element }) => element));
  byId("match-evidence").textContent = data.shots[matching.shot].evidence;
  for (const input of byId("match-views").querySelectorAll("input")) input.checked = input.value === matching.view;
}

/** Highlights the match nearest to the pointer, with its line even if only points are drawn. */
function pickMatch(event) {
  const svg = byId("matches");
  const inside = new DOMPoint(event.clientX, event.clientY).matrixTransform(svg.getScreenCTM().inverse());
  const reach = REACH_PX / svg.getScreenCTM().a;
  let nearest = null;
  let nearestDistance = reach;
  for (const match of matching.points) {
    for (const [x, y] of match.ends) {
      const distance = Math.hypot(x - inside.x, y - inside.y);
      if (distance < nearestDistance) [nearest, nearestDistance] = [match.element, distance];
    }
  }
  markMatch(nearest);
}

function markMatch(element) {
  for (const { element: other } of matching.points) other.classList.toggle("picked", other === element);
  if (element) element.parentNode.append(element); // on top
}
