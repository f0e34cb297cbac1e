// Highlights the line under the cursor, a median or a seed, with its name and value.
let held = null; // {curve, line, index}: the curve, its own line or that of a seed, and the point
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
  const curve = held && shown.find((each) => each.variant === held.curve.variant && each.isHeldOut === held.curve.isHeldOut);
  if (pinned && curve) {
    const line = curve.seeds.find((each) => each.seed === held.line.seed) || curve;
    // With more data, a point can be of more steps, so its index changes.
    hold({ curve, line, index: Math.max(0, placeOf(line.steps, held.line.steps[held.index])) });
  } else { held = null; pinned = false; }
}

// The distance in pixels to a line: vertical within its range, else to its nearest end.
function distance(line, left, top) {
  const place = Math.max(0, placeOf(line.xs, plot.posToVal(left, "x")));
  const next = Math.min(place + 1, line.xs.length - 1);
  const [x0, x1] = [at.x(line.xs[place]), at.x(line.xs[next])];
  const [y0, y1] = [at.y(line.line[place]), at.y(line.line[next])];
  const share = x1 > x0 ? Math.max(0, Math.min(1, (left - x0) / (x1 - x0))) : 0;
  const index = share < 0.5 ? place : next;
  const x = x0 + share * (x1 - x0), y = y0 + share * (y1 - y0);
  return { far: Math.hypot(x - left, y - top), index };
}

// The seeds on the screen: those of all curves if there are few, else those of the held curve.
const visibleSeeds = (curve) => shown.length <= FEW_VARIANTS || (held && held.curve.variant === curve.variant) ? curve.seeds : [];

function hover(left, top) {
  if (!plot || !glass || pinned) return;
  if (left < 0 || top < 0 || !shown.length) { hold(null); return; }
  let best = { far: 70 };
  for (const curve of shown) {
    for (const line of [curve, ...visibleSeeds(curve)]) {
      const found = distance(line, left, top);
      const far = found.far + (line === curve ? 0 : 3); // the median, where a seed lies on it
      if (far < best.far) best = { far, index: found.index, line, curve };
    }
  }
  const marked = state.marks ? marksNear(best.curve && shown.length > FEW ? [best.curve] : shown, at, plot.over.clientHeight, left, top) : [];
  hold(best.curve ? best : null, marked, left, top);
}

function hold(found, marked = [], left = null, top = null) {
  held = found && found.curve ? { curve: found.curve, line: found.line, index: found.index } : null;
  const ctx = glass.getContext("2d");
  ctx.setTransform(1, 0, 0, 1, 0, 0);
  ctx.clearRect(0, 0, glass.width, glass.height);
  document.querySelectorAll(".names .held").forEach((each) => each.classList.remove("held"));
  tip.hidden = !held;
  if (!held) return;
  ctx.scale(devicePixelRatio, devicePixelRatio);
  if (shown.length > 1 || held.line !== held.curve) highlight(ctx, held);
  const { curve, line, index } = held;
  const x = at.x(line.xs[index]), y = at.y(line.line[index]);
  ctx.beginPath();
  ctx.arc(x, y, 5, 0, 2 * Math.PI);
  ctx.fillStyle = paint(curve.colour);
  ctx.strokeStyle = tone("--paper");
  ctx.lineWidth = 2;
  ctx.fill();
  ctx.stroke();
  const listed = document.querySelector(`.names [data-variant="${curve.variant}"]`);
  if (listed) listed.classList.add("held");
  describe(held, marked);
  place(left ?? x, top ?? y);
}

// The held line, thicker and above the others, with what many curves leave out.
function highlight(ctx, { curve, line }) {
  const isSeed = line !== curve;
  if (shown.length > FEW_VARIANTS) {
    if (curve.seeds.length) drawSeeds(ctx, curve);
    else if (shown.length > MANY) drawBand(ctx, curve, curve.colour, 0.22);
  }
  trace(ctx, line, tone("--paper"), isSeed ? 5 : 6);
  trace(ctx, line, paint(curve.colour), isSeed ? 2 : 2.8, isSeed ? [] : DASHES[curve.dash]);
  if (state.marks && shown.length > FEW) drawMarks(ctx, [curve], at, plot.over.clientHeight);
}

function describe({ curve, line, index }, marked) {
  tip.replaceChildren();
  const write = (text, kind) => {
    const made = document.createElement("div");
    made.textContent = text;
    if (kind) made.className = kind;
    tip.append(made);
    return made;
  };
  const isSeed = line !== curve;
  write("", "title").append(swatch(curve), ` ${curve.name}${isSeed ? `, seed ${line.seed}` : ""}`);
  const number = document.createElement("b");
  number.textContent = written(line.values[index]);
  write("", "value").append(number, ` at step ${line.steps[index].toLocaleString("en")}`);
  if (state.along !== "step") write(`${writtenCost(line.xs[index])} ${state.along === "flops" ? "FLOPs" : state.along}`, "faint");
  const range = `${written(line.low[index])} to ${written(line.high[index])}`;
  if (!isSeed && curve.count > 1) write(`median of ${curve.count} seeds, ${range}`, "faint");
  else if (line.low[index] !== line.high[index]) write(`${range} in the steps of this point`, "faint");
  if (state.smooth) write(`smoothed ${written(line.line[index])}`, "faint");
  for (const { curve: owner, mark } of marked.slice(0, 3)) {
    const to = mark.to != null && mark.to !== mark.from ? `–${mark.to.toLocaleString("en")}` : "";
    const of = owner.variant === curve.variant ? "" : ` (${owner.name})`;
    write(`${mark.kind}: ${mark.text || ""} · step ${mark.from.toLocaleString("en")}${to}${of}`, "mark");
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

// The arrow keys move along a line and between curves, s moves between the seeds of a curve;
// + and − zoom, 0 resets the zoom.
function onKey(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || !shown.length) return;
  const start = held || { curve: shown[0], line: shown[0], index: Math.floor(shown[0].steps.length / 2) };
  const { curve, line, index } = start;
  const step = event.shiftKey ? 10 : 1;
  const along = (by) => ({ curve, line, index: Math.max(0, Math.min(line.xs.length - 1, index + by)) });
  const onto = (found, other) => ({ curve: found, line: other, index: Math.max(0, placeOf(other.xs, line.xs[index])) });
  const across = (by) => {
    const here = line.steps[index];
    const order = [...shown].sort((a, b) => valueAt(b, here) - valueAt(a, here));
    const next = order[Math.max(0, Math.min(order.length - 1, order.indexOf(curve) + by))];
    return onto(next, next);
  };
  const nextSeed = () => {
    const lines = [curve, ...curve.seeds];
    return onto(curve, lines[(lines.indexOf(line) + 1) % lines.length]);
  };
  const moves = { ArrowLeft: () => along(-step), ArrowRight: () => along(step), ArrowUp: () => across(-1), ArrowDown: () => across(1), s: nextSeed };
  const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  if (moves[key]) {
    const found = held ? moves[key]() : start;
    pinned = true;
    const here = found.line.steps[found.index];
    const near = state.marks ? found.curve.marks.filter((mark) => here >= mark.from && here <= (mark.to ?? mark.from)) : [];
    hold(found, near.map((mark) => ({ curve: found.curve, mark })));
  } else if (event.key === "+" || event.key === "=") zoomBy(0.5);
  else if (event.key === "-") zoomBy(2);
  else if (event.key === "0") resetZoom();
  else if (event.key === "Escape") clearSelection();
  else return;
  event.preventDefault();
}
