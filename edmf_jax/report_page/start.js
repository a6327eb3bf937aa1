// Puts the parts together: the table's sorting, the plot of points and the viewer.

function setUpSorting() {
  const table = byId("means");
  const body = table.tBodies[0];
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => head.querySelector("button")?.addEventListener("click", () => {
    const better = direction(data.metrics[column - 1]) > 0 ? "descending" : "ascending";
    const worse = better === "descending" ? "ascending" : "descending";
    const order = head.getAttribute("aria-sort") === better ? worse : better; // the best first, then the worst
    for (const other of heads) if (other.hasAttribute("aria-sort")) other.setAttribute("aria-sort", "none");
    head.setAttribute("aria-sort", order);
    const value = (row) => {
      const text = row.cells[column].dataset.value;
      return text === "" ? NaN : Number(text);
    };
    const rows = [...body.rows].sort((p, q) => {
      const [a, b] = [value(p), value(q)];
      if (Number.isNaN(a) || Number.isNaN(b)) return Number.isNaN(a) - Number.isNaN(b); // without a value: last
      return order === "descending" ? b - a : a - b;
    });
    body.append(...rows);
  }));
}

for (const part of document.querySelectorAll(".needs-script")) part.hidden = false;
pairTexts.forEach((_, place) => shownPlaces.set(data.ids.indexOf(shownPair(place).id), place));
setUpSorting();
setUpViewer();
setUpCompare();

openPair = (pair) => {
  showPair(shownPlaces.get(pair));
  // The two methods that were compared, under the slider.
  setViewer({ left: compare.x === POSITION ? "a" : `m${compare.x}`, right: `m${compare.y}` });
  byId("pair-title").focus({ preventScroll: true });
  byId("pictures").scrollIntoView({ block: "start" });
};
