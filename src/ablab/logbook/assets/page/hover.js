// Highlights the curve under the cursor, with its name and value.
let held = null; // {curve, index}: the nearest curve and its point
let pinned = false; // selected by click or keyboard; stays until the selection is cleared
let glass = null;
const tip = document.createElement("div");
tip.className = "tip";
tip.setAttribute("role", "status");

// Adds a canvas above the figure, and restores the selection in the new curves.
function overlay(u) {
  if (u !== plot) return; // a newer plot has replaced this one
  glass = document.createElement("canvas");
  glass.className = "glass";
  plot.over.append(glass, tip);
  const { clientWidth, clientHeight } = plot.over;
  glass.width = clientWidth * devicePixelRatio;
  glass.height = clientHeight * devicePixelRatio;
  tip.hidden = true;
  const curve = held && shown.find((each) => each.variant === held.curve.variant);
  if (pinned && curve) hold({ curve, index: Math.min(held.index, curve.steps.length - 1) });
  else { held = null; pinned = false; }
}

// The distance in pixels to a curve: vertical within its range, else to its nearest end.
function distance(curve, left, top) {
  const step = plot.posToVal(left, "x");
  const place = Math.max(0, placeOf(curve.steps, step));
  const next = Math.min(place + 1, curve.steps.length - 1);
  const [x0, x1] = [at.x(curve.steps[place]), at.x(curve.steps[next])];
  const [y0, y1] = [at.y(curve.line[place]), at.y(curve.line[next])];
  const share = x1 > x0 ? Math.max(0, Math.min(1, (left - x0) / (x1 - x0))) : 0;
  const index = share < 0.5 ? place : next;
  const x = x0 + share * (x1 - x0), y = y0 + share * (y1 - y0);
  return { far: Math.hypot(x - left, y - top), index };
}

function hover(left, top) {
  if (!plot || !glass || pinned) return;
  if (left < 0 || top < 0 || !shown.length) { hold(null); return; }
  let best = { far: 70 };
  for (const curve of shown) {
    const { far, index } = distance(curve, left, top);
    if (far < best.far) best = { far, index, curve };
  }
  const marked = state.marks ? marksNear(best.curve && shown.length > FEW ? [best.curve] : shown, at, plot.over.clientHeight, left, top) : [];
  hold(best.curve ? best : null, marked, left, top);
}

function hold(found, marked = [], left = null, top = null) {
  held = found && found.curve ? { curve: found.curve, index: found.index } : null;
  const ctx = glass.getContext("2d");
  ctx.setTransform(1, 0, 0, 1, 0, 0);
  ctx.clearRect(0, 0, glass.width, glass.height);
  document.querySelectorAll(".names .held").forEach((each) => each.classList.remove("held"));
  tip.hidden = !held;
  if (!held) return;
  const { curve, index } = held;
  ctx.scale(devicePixelRatio, devicePixelRatio);
  if (shown.length > 1) {
    if (shown.length > MANY) drawBand(ctx, curve, 0.22);
    ctx.lineJoin = "round";
    trace(ctx, curve, tone("--paper"), 6, []);
    trace(ctx, curve, paint(curve.colour), 2.8, DASHES[curve.dash]);
    if (state.marks && shown.length > FEW) drawMarks(ctx, [curve], at, plot.over.clientHeight);
  }
  const x = at.x(curve.steps[index]), y = at.y(curve.line[index]);
  ctx.setLineDash([]);
  ctx.beginPath();
  ctx.arc(x, y, 5, 0, 2 * Math.PI);
  ctx.fillStyle = paint(curve.colour);
  ctx.strokeStyle = tone("--paper");
  ctx.lineWidth = 2;
  ctx.fill();
  ctx.stroke();
  const listed = document.querySelector(`.names [data-variant="${curve.variant}"]`);
  if (listed) listed.classList.add("held");
  describe(curve, index, marked);
  place(left ?? x, top ?? y);
}

function trace(ctx, curve, colour, width, dash) {
  ctx.beginPath();
  curve.steps.forEach((step, index) => {
    const value = curve.line[index];
    if ((step > 0 || !state.logX) && (value > 0 || !state.logY)) ctx.lineTo(at.x(step), at.y(value));
  });
  ctx.strokeStyle = colour;
  ctx.lineWidth = width;
  ctx.setLineDash(dash);
  ctx.stroke();
}

function describe(curve, index, marked) {
  tip.replaceChildren();
  const line = (text, kind) => {
    const made = document.createElement("div");
    made.textContent = text;
    if (kind) made.className = kind;
    tip.append(made);
    return made;
  };
  const title = line("", "title");
  title.append(swatch(curve), ` ${curve.label}`);
  const value = line("", "value");
  const number = document.createElement("b");
  number.textContent = written(curve.mean[index]);
  value.append(number, ` at step ${curve.steps[index].toLocaleString("en")}`);
  if (curve.low[index] !== curve.high[index]) line(`${written(curve.low[index])} to ${written(curve.high[index])}`, "faint");
  if (state.smooth) line(`smoothed ${written(curve.line[index])}`, "faint");
  for (const { curve: owner, mark } of marked.slice(0, 3)) {
    const to = mark.to != null && mark.to !== mark.from ? `–${mark.to.toLocaleString("en")}` : "";
    const of = owner.variant === curve.variant ? "" : ` (${owner.label})`;
    line(`${mark.kind}: ${mark.text || ""} · step ${mark.from.toLocaleString("en")}${to}${of}`, "mark");
  }
}

// Next to the cursor, on the side that has room.
function place(left, top) {
  const { clientWidth, clientHeight } = plot.over;
  const wide = tip.offsetWidth, high = tip.offsetHeight;
  const x = left + 16 + wide <= clientWidth ? left + 16 : left - 16 - wide >= 0 ? left - 16 - wide : (clientWidth - wide) / 2;
  const y = Math.max(0, Math.min(clientHeight - high, top - high - 12 >= 0 ? top - high - 12 : top + 18));
  tip.style.transform = `translate(${Math.round(x)}px, ${Math.round(y)}px)`;
}

function pin() {
  pinned = !pinned && held !== null;
  tip.classList.toggle("pinned", pinned);
}

function clearSelection() {
  pinned = false;
  tip.classList.remove("pinned");
  hold(null);
}

// The arrow keys move along a curve and between curves; + and − zoom, 0 resets the zoom.
function onKey(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || !shown.length) return;
  const start = held || { curve: shown[0], index: Math.floor(shown[0].steps.length / 2) };
  const { curve, index } = start;
  const step = event.shiftKey ? 10 : 1;
  const along = (by) => ({ curve, index: Math.max(0, Math.min(curve.steps.length - 1, index + by)) });
  const across = (by) => {
    const here = curve.steps[index];
    const order = [...shown].sort((a, b) => valueAt(b, here) - valueAt(a, here));
    const next = order[Math.max(0, Math.min(order.length - 1, order.indexOf(curve) + by))];
    return { curve: next, index: Math.max(0, placeOf(next.steps, here)) };
  };
  const moves = { ArrowLeft: () => along(-step), ArrowRight: () => along(step), ArrowUp: () => across(-1), ArrowDown: () => across(1) };
  if (moves[event.key]) {
    const found = held ? moves[event.key]() : start;
    pinned = true;
    const near = state.marks ? found.curve.marks.filter((mark) => found.curve.steps[found.index] >= mark.from && found.curve.steps[found.index] <= (mark.to ?? mark.from)) : [];
    hold(found, near.map((mark) => ({ curve: found.curve, mark })));
  } else if (event.key === "+" || event.key === "=") zoomBy(0.5);
  else if (event.key === "-") zoomBy(2);
  else if (event.key === "0") resetZoom();
  else if (event.key === "Escape") clearSelection();
  else return;
  event.preventDefault();
}
