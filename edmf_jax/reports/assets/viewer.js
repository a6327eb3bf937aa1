// Shows two pictures of a pair (or of a fusion) under a slider: the whole or a cut-out, at a chosen zoom.
// The page's own script defines: initialLayers, layerGroups, legendSentences, pairName, pairTitle, drawPairDetails.

const viewer = { index: 0, left: null, right: null, view: 0, zoom: "fit", split: 50 };
const ZOOMS = [["fit", "fit"], ["1", "1×"], ["2", "2×"], ["4", "4×"]];
// A pair's place in the data set → its index among the pairs with pictures.
const shownIndices = new Map();

function setUpViewer() {
  byId("no-pictures").hidden = pairElements.length > 0;
  byId("viewer").hidden = pairElements.length === 0;
  if (!pairElements.length) return;
  const isChoice = pairElements.length > 1;
  if (isChoice) pairElements.forEach((_, index) => byId("strip").append(stripButton(index)));
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
  [viewer.left, viewer.right] = initialLayers(pairRecord(0));
  showPair(0);
}

function stripButton(index) {
  const pair = pairRecord(index);
  const button = make("button", { type: "button", title: `Pair ${pair.id}: ${pair.why}`, "data-index": index },
    make("img", { alt: "", src: dataUri(pair.strip) }), make("span", {}, pair.id));
  button.addEventListener("click", () => showPair(index));
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
  const count = pairElements.length;
  showPair((viewer.index + by + count) % count);
}

function showPair(index) {
  viewer.index = index;
  const pair = pairRecord(index);
  if (viewer.view > pair.crops.length) viewer.view = 0;
  const labels = ["whole picture", ...pair.crops.map((crop, i) => `${i + 1} ${crop.label}`)];
  makeRadios(byId("views"), "view", labels.map((text, i) => [i, text]), (value) => setViewer({ view: value }));
  drawViewer();
  const buttons = [...byId("strip").children];
  if (!buttons.length) return;
  buttons.forEach((button, i) => {
    if (i === index) button.setAttribute("aria-current", "true");
    else button.removeAttribute("aria-current");
    button.tabIndex = i === index ? 0 : -1; // Tab stops at one button only; the arrow keys move on from it
  });
  const strip = byId("strip");
  strip.scrollLeft = buttons[index].offsetLeft - strip.clientWidth / 2 + buttons[index].clientWidth / 2;
  if (strip.contains(document.activeElement)) buttons[index].focus({ preventScroll: true });
}

function layerName(pair, key) {
  return layerGroups(pair).flatMap(([, layers]) => layers).find(([other]) => other === key)?.[1] ?? key;
}

function absenceReason(pair, key) {
  return layerGroups(pair).flatMap(([, layers]) => layers).find(([other]) => other === key)?.[2] ?? "not there";
}

function drawViewer() {
  const pair = pairRecord(viewer.index);
  for (const side of ["left", "right"]) {
    byId(side).replaceChildren(...layerGroups(pair).filter(([, layers]) => layers.length).map(([label, layers]) =>
      make("optgroup", { label }, ...layers.map(([key, name, absent]) => make("option",
        { value: key, selected: key === viewer[side], disabled: Boolean(absent) && key !== viewer[side] },
        absent ? `${name} (${absent})` : name)))));
    byId(`${side}-name`).textContent = layerName(pair, viewer[side]);
  }
  byId("pair-title").textContent = pairTitle(pair);
  byId("pair-why").textContent = `${pair.why} ${pair.width} × ${pair.height} px.`;
  for (const input of byId("views").querySelectorAll("input")) input.checked = Number(input.value) === viewer.view;
  byId("legend").textContent = legendSentences(pair, [viewer.left, viewer.right]).join(" ");
  drawPairDetails(pair);
  drawStage();
}

function isFull(pair) {
  return pair.whole[0] === pair.width;
}

/** What the stage shows of a layer: the picture's source and size, and the offset and size of the part shown [px]. */
function stagePart(pair, key) {
  const sources = pair.layers[key] ?? [];
  if (viewer.view === 0) return { source: sources[0], picture: pair.whole, offset: [0, 0], part: pair.whole };
  const crop = pair.crops[viewer.view - 1];
  const part = [crop.width, crop.height];
  // If the whole is stored in full resolution, the cut-out is a part of it.
  return isFull(pair) ? { source: sources[0], picture: pair.whole, offset: [crop.x, crop.y], part }
    : { source: sources[viewer.view], picture: part, offset: [0, 0], part };
}

function drawStage() {
  const pair = pairRecord(viewer.index);
  // Zooming into a reduced picture shows more only if the picture is larger than its window.
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
  // From twice the size on, pixels are drawn as squares.
  stage.classList.toggle("pixels", factor >= 2 && canZoom);
  drawLayer(byId("under"), pair, viewer.right, factor);
  drawLayer(byId("over"), pair, viewer.left, factor);
  byId("frames-label").hidden = viewer.view !== 0 || !pair.crops.length;
  drawMarks(pair, factor);
  const viewport = byId("viewport");
  // If the picture is larger than its window, a finger scrolls it, and only the slider moves the divider.
  viewport.classList.toggle("pans", stage.offsetWidth > viewport.clientWidth + 1);
  setSplit(viewer.split);
}

/** The factor that fits a picture into the window; whole steps, or at most 1.5, where that enlarges it. */
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
    layer.dataset.text = `${layerName(pair, key)}: ${absenceReason(pair, key)}`;
    return;
  }
  delete layer.dataset.text;
  image.src = dataUri(source);
  image.alt = `${layerName(pair, key)} of ${pairName(pair)}`;
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

/** Moves the divider between the left and the right picture to a percentage of the visible width. */
function setSplit(percent) {
  viewer.split = Math.min(100, Math.max(0, percent));
  const [viewport, stage] = [byId("viewport"), byId("stage")];
  const visible = Math.min(viewport.clientWidth, stage.offsetWidth);
  const x = viewport.scrollLeft + (visible * viewer.split) / 100;
  byId("over").style.clipPath = `inset(0 ${Math.max(0, stage.offsetWidth - x)}px 0 0)`;
  byId("divider").style.left = `${x}px`;
  // The slider is as wide as the visible part of the pictures.
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
  // These controls use letters and arrow keys themselves.
  const isChoice = event.target.matches("select, input[type=radio]");
  const isScrolling = event.target.matches(".scroll, .pans, input[type=range]");
  const next = (values, value) => values[(values.indexOf(value) + 1) % values.length];
  const actions = {
    n: () => step(1), p: () => step(-1), x: swap,
    v: () => setViewer({ view: next([0, ...pairRecord(viewer.index).crops.map((_, i) => i + 1)], viewer.view) }),
    z: () => setViewer({ zoom: next(ZOOMS.map(([value]) => value), viewer.zoom) }),
  };
  const across = pairElements.length > 1 ? step : (by) => setSplit(viewer.split + 2 * by);
  if (!isScrolling) Object.assign(actions, { ArrowLeft: () => across(-1), ArrowRight: () => across(1) });
  if (isChoice && (event.target.matches("select") || event.key.startsWith("Arrow")) || !actions[event.key]) return;
  event.preventDefault();
  actions[event.key]();
}
