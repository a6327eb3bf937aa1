// The pictures of a pair (or of a fusion): two of them under a slider, whole or a cut-out, at a chosen zoom.
// The page says what there is to see: firstLayers, layerGroups, legendOf, nameOf, titleOf, aboutPair.

const viewer = { place: 0, left: null, right: null, view: 0, zoom: "fit", split: 50 };
const ZOOMS = [["fit", "fit"], ["1", "1×"], ["2", "2×"], ["4", "4×"]];
// Pair's place in the data set → its place among those with pictures.
const shownPlaces = new Map();

function setUpViewer() {
  byId("no-pictures").hidden = pairTexts.length > 0;
  byId("viewer").hidden = pairTexts.length === 0;
  if (!pairTexts.length) return;
  const isChoice = pairTexts.length > 1;
  if (isChoice) pairTexts.forEach((_, place) => byId("strip").append(stripButton(place)));
  for (const id of ["strip", "previous", "next"]) byId(id).hidden = !isChoice;
  makeRadios(byId("zooms"), "zoom", ZOOMS, (value) => setViewer({ zoom: value }));
  for (const side of ["left", "right"]) {
    byId(side).addEventListener("change", (event) => setViewer({ [side]: event.target.value }));
  }
  byId("swap").addEventListener("click", swap);
  byId("previous").addEventListener("click", () => step(-1));
  byId("next").addEventListener("click", () => step(1));
  byId("frames").addEventListener("change", drawStage);
  byId("slider").addEventListener("input", (event) => setSplit(Number(event.target.value)));
  byId("viewport").addEventListener("scroll", () => setSplit(viewer.split));
  byId("viewer").addEventListener("keydown", viewerKey);
  setUpDragging();
  new ResizeObserver(drawStage).observe(byId("viewport"));
  [viewer.left, viewer.right] = firstLayers(shownPair(0));
  showPair(0);
}

function stripButton(place) {
  const pair = shownPair(place);
  const button = make("button", { type: "button", title: `Pair ${pair.id}: ${pair.why}`, "data-place": place },
    make("img", { alt: "", src: dataUri(pair.strip) }), make("span", {}, pair.id));
  button.addEventListener("click", () => showPair(place));
  return button;
}

function dataUri(base64) {
  return `data:image/webp;base64,${base64}`;
}

function makeRadios(box, name, options, choose) {
  for (const label of box.querySelectorAll("label")) label.remove();
  for (const [value, text] of options) {
    const input = make("input", { type: "radio", name, value });
    input.addEventListener("change", () => choose(value));
    box.append(make("label", {}, input, make("span", {}, text)));
  }
}

function setViewer(changes) {
  Object.assign(viewer, changes);
  drawViewer();
}

function swap() {
  setViewer({ left: viewer.right, right: viewer.left });
}

function step(by) {
  const count = pairTexts.length;
  showPair((viewer.place + by + count) % count);
}

function showPair(place) {
  viewer.place = place;
  const pair = shownPair(place);
  if (viewer.view > pair.crops.length) viewer.view = 0;
  const labels = ["whole picture", ...pair.crops.map((crop, i) => `${i + 1} ${crop.label}`)];
  makeRadios(byId("views"), "view", labels.map((text, i) => [i, text]), (value) => setViewer({ view: value }));
  drawViewer();
  const buttons = [...byId("strip").children];
  if (!buttons.length) return;
  buttons.forEach((button, i) => {
    if (i === place) button.setAttribute("aria-current", "true");
    else button.removeAttribute("aria-current");
    button.tabIndex = i === place ? 0 : -1; // one stop for Tab; the arrow keys go on from there
  });
  const strip = byId("strip");
  strip.scrollLeft = buttons[place].offsetLeft - strip.clientWidth / 2 + buttons[place].clientWidth / 2;
  if (strip.contains(document.activeElement)) buttons[place].focus({ preventScroll: true });
}

function layerName(pair, key) {
  return layerGroups(pair).flatMap(([, layers]) => layers).find(([other]) => other === key)?.[1] ?? key;
}

function absence(pair, key) {
  return layerGroups(pair).flatMap(([, layers]) => layers).find(([other]) => other === key)?.[2] ?? "not there";
}

function drawViewer() {
  const pair = shownPair(viewer.place);
  for (const side of ["left", "right"]) {
    byId(side).replaceChildren(...layerGroups(pair).filter(([, layers]) => layers.length).map(([label, layers]) =>
      make("optgroup", { label }, ...layers.map(([key, name, absent]) => make("option",
        { value: key, selected: key === viewer[side], disabled: Boolean(absent) && key !== viewer[side] },
        absent ? `${name} (${absent})` : name)))));
    byId(`${side}-name`).textContent = layerName(pair, viewer[side]);
  }
  byId("pair-title").textContent = titleOf(pair);
  byId("pair-why").textContent = `${pair.why} ${pair.width} × ${pair.height} px.`;
  for (const input of byId("views").querySelectorAll("input")) input.checked = Number(input.value) === viewer.view;
  byId("legend").textContent = legendOf(pair, [viewer.left, viewer.right]).join(" ");
  aboutPair(pair);
  drawStage();
}

function isFull(pair) {
  return pair.whole[0] === pair.width;
}

/** What part of which picture is on the stage: [source, size of the picture, offset, size of the part], in its pixels. */
function stagePart(pair, key) {
  const sources = pair.layers[key] ?? [];
  if (viewer.view === 0) return { source: sources[0], picture: pair.whole, offset: [0, 0], part: pair.whole };
  const crop = pair.crops[viewer.view - 1];
  const part = [crop.width, crop.height];
  // A picture that is there in full resolution is cut here.
  return isFull(pair) ? { source: sources[0], picture: pair.whole, offset: [crop.x, crop.y], part }
    : { source: sources[viewer.view], picture: part, offset: [0, 0], part };
}

function drawStage() {
  const pair = shownPair(viewer.place);
  // Of a reduced picture there is more to see only where it is larger than its window.
  const canZoom = viewer.view > 0 || isFull(pair) || fitFactor(pair.whole) < 1;
  if (!canZoom) viewer.zoom = "fit";
  for (const input of byId("zooms").querySelectorAll("input")) {
    input.checked = input.value === viewer.zoom;
    input.disabled = !canZoom && input.value !== "fit";
  }
  const { part } = stagePart(pair, "a");
  const factor = viewer.zoom === "fit" ? fitFactor(part) : Number(viewer.zoom);
  const stage = byId("stage");
  stage.style.width = `${part[0] * factor}px`;
  stage.style.height = `${part[1] * factor}px`;
  // From twice the size on, pixels are to be seen as they are.
  stage.classList.toggle("pixels", factor >= 2 && canZoom);
  drawLayer(byId("under"), pair, viewer.right, factor);
  drawLayer(byId("over"), pair, viewer.left, factor);
  byId("frames-label").hidden = viewer.view !== 0 || !pair.crops.length;
  drawMarks(pair, factor);
  const viewport = byId("viewport");
  // A picture that is larger than its window is moved by a finger; the slider below divides it then.
  viewport.classList.toggle("pans", stage.offsetWidth > viewport.clientWidth + 1);
  setSplit(viewer.split);
}

/** As large as the window; small pictures grow in whole steps, and large ones are never taller than the screen. */
function fitFactor([width, height]) {
  const room = byId("viewport").clientWidth || width;
  const factor = Math.min(room / width, Math.max(240, window.innerHeight * 0.66) / height);
  if (factor < 1) return factor;
  return viewer.view > 0 || width < 200 ? Math.floor(factor) : Math.min(factor, 1.5);
}

function drawLayer(layer, pair, key, factor) {
  const image = layer.firstElementChild;
  const { source, picture, offset } = stagePart(pair, key);
  layer.classList.toggle("absent", !source);
  image.hidden = !source;
  if (!source) {
    layer.dataset.text = `${layerName(pair, key)}: ${absence(pair, key)}`;
    return;
  }
  delete layer.dataset.text;
  image.src = dataUri(source);
  image.alt = `${layerName(pair, key)} of ${nameOf(pair)}`;
  image.style.width = `${picture[0] * factor}px`;
  image.style.height = `${picture[1] * factor}px`;
  image.style.left = `${-offset[0] * factor}px`;
  image.style.top = `${-offset[1] * factor}px`;
}

function drawMarks(pair, factor) {
  const isWanted = viewer.view === 0 && byId("frames").checked;
  const scaled = (length) => `${(length * factor * pair.whole[0]) / pair.width}px`;
  byId("marks").replaceChildren(...(isWanted ? pair.crops : []).map((crop, i) => {
    const mark = make("span", {}, String(i + 1));
    Object.assign(mark.style, { left: scaled(crop.x), top: scaled(crop.y), width: scaled(crop.width), height: scaled(crop.height) });
    return mark;
  }));
}

/** Puts the divider at a percentage of what is visible: left of it the left picture, right of it the right one. */
function setSplit(percent) {
  viewer.split = Math.min(100, Math.max(0, percent));
  const [viewport, stage] = [byId("viewport"), byId("stage")];
  const visible = Math.min(viewport.clientWidth, stage.offsetWidth);
  const x = viewport.scrollLeft + (visible * viewer.split) / 100;
  byId("over").style.clipPath = `inset(0 ${Math.max(0, stage.offsetWidth - x)}px 0 0)`;
  byId("divider").style.left = `${x}px`;
  // The slider is as wide as what it divides.
  for (const part of document.querySelectorAll(".under-stage")) part.style.width = `${Math.max(visible, 200)}px`;
  const slider = byId("slider");
  slider.value = String(viewer.split);
  slider.setAttribute("aria-valuetext", `${Math.round(viewer.split)} % ${byId("left-name").textContent}, the rest ${byId("right-name").textContent}`);
}

function setUpDragging() {
  const [viewport, stage] = [byId("viewport"), byId("stage")];
  let isDragging = false;
  const move = (event) => {
    const visible = Math.min(viewport.clientWidth, stage.offsetWidth);
    const start = Math.max(viewport.getBoundingClientRect().left, stage.getBoundingClientRect().left);
    setSplit((100 * (event.clientX - start)) / visible);
  };
  stage.addEventListener("pointerdown", (event) => {
    if (event.button !== 0 || (event.pointerType === "touch" && viewport.classList.contains("pans"))) return;
    isDragging = true;
    stage.setPointerCapture(event.pointerId);
    move(event);
  });
  stage.addEventListener("pointermove", (event) => isDragging && move(event));
  for (const end of ["pointerup", "pointercancel"]) stage.addEventListener(end, () => { isDragging = false; });
  stage.addEventListener("dragstart", (event) => event.preventDefault());
}

function viewerKey(event) {
  if (event.altKey || event.ctrlKey || event.metaKey) return;
  // These have a use for the keys themselves: choosing by letters and arrows.
  const isChoice = event.target.matches("select, input[type=radio]");
  const isScrolling = event.target.matches(".scroll, .pans, input[type=range]");
  const next = (values, value) => values[(values.indexOf(value) + 1) % values.length];
  const actions = {
    n: () => step(1), p: () => step(-1), x: swap,
    v: () => setViewer({ view: next([0, ...shownPair(viewer.place).crops.map((_, i) => i + 1)], viewer.view) }),
    z: () => setViewer({ zoom: next(ZOOMS.map(([value]) => value), viewer.zoom) }),
  };
  const across = pairTexts.length > 1 ? step : (by) => setSplit(viewer.split + 2 * by);
  if (!isScrolling) Object.assign(actions, { ArrowLeft: () => across(-1), ArrowRight: () => across(1) });
  if (isChoice && (event.target.matches("select") || event.key.startsWith("Arrow")) || !actions[event.key]) return;
  event.preventDefault();
  actions[event.key]();
}
