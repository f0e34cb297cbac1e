// Builds the page.
function build() {
  buildChips();
  buildNames();
  buildBy();
  buildAlong();
}

// Replaces the curves and keeps the view. The new data may have more columns.
function replaceData(newGrid, newData) {
  const variants = JSON.stringify(grid.variants.map((each) => each.label));
  const columns = Object.keys(data).join();
  grid = newGrid;
  data = newData;
  withBothLosses();
  unpacked = {};
  if (!availableX().includes(state.along)) state.along = "step";
  if (!data[state.column]) state.column = Object.keys(data)[0];
  if (Object.keys(data).join() !== columns) {
    element("column").replaceChildren(...Object.entries(data).map(([name, { title }]) => make("option", { value: name }, title)));
  }
  buildAlong();
  if (JSON.stringify(grid.variants.map((each) => each.label)) !== variants) build();
  draw();
  showSwitches();
}

readAddress();
build();
listen();
draw();
showSwitches();
let drawnWidth = holder.clientWidth;
addEventListener("resize", () => {
  if (holder.clientWidth !== drawnWidth) { drawnWidth = holder.clientWidth; draw(); }
});
dark.addEventListener("change", () => { draw(); showSwitches(); });
addEventListener("hashchange", () => { readAddress(); draw(); showSwitches(); });
