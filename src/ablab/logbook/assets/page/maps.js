// The values of heat maps under the cursor.
function attachMaps(root) {
  for (const figure of root.querySelectorAll("figure[data-maps]")) attachMap(figure);
}

function attachMap(figure) {
  const drawing = figure.querySelector("svg");
  const maps = JSON.parse(figure.dataset.maps);
  const tip = document.createElement("output");
  tip.className = "value";
  figure.append(tip);
  const look = (event) => {
    const frame = drawing.getBoundingClientRect();
    const x = (event.clientX - frame.left) / frame.width, y = (event.clientY - frame.top) / frame.height;
    const map = maps.find(({ box: [left, top, right, bottom] }) => x >= left && x < right && y >= top && y < bottom);
    tip.hidden = !map;
    if (!map) return;
    const [left, top, right, bottom] = map.box;
    const row = Math.floor((y - top) / (bottom - top) * map.values.length);
    const column = Math.floor((x - left) / (right - left) * map.values[0].length);
    const value = map.values[row][column];
    tip.textContent = `${map.name} row ${row}, column ${column}: ${value === null ? "none" : value}`;
    const own = figure.getBoundingClientRect();
    // The figure scrolls on phones, and the box with it.
    tip.style.left = `${figure.scrollLeft + Math.min(event.clientX - own.left + 12, own.width - 150)}px`;
    tip.style.top = `${event.clientY - own.top + 14}px`;
  };
  tip.hidden = true;
  drawing.addEventListener("pointermove", look);
  drawing.addEventListener("pointerdown", look);
  drawing.addEventListener("pointerleave", () => { tip.hidden = true; });
}

attachMaps(document);
