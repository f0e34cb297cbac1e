// Marks on the curves: plateaus, descents, spikes and other findings of the curve reader.
const FEW = 8; // with more curves than this, only the marks of the nearest curve are drawn
const SHADED = 3; // with more curves than this, shades of transitions would hide each other

function valueAt(curve, step) {
  const place = placeOf(curve.steps, step);
  if (place < 0) return curve.line[0];
  if (place >= curve.steps.length - 1) return curve.line[curve.line.length - 1];
  const share = (step - curve.steps[place]) / (curve.steps[place + 1] - curve.steps[place]);
  return curve.line[place] + share * (curve.line[place + 1] - curve.line[place]);
}

// The highest value within a mark's steps. A point covers the steps up to its own.
function peak(curve, mark) {
  const first = Math.max(0, placeOf(curve.steps, mark.from - 1) + 1);
  const last = Math.max(first, placeOf(curve.steps, (mark.to ?? mark.from) - 1) + 1);
  return Math.max(...curve.high.slice(first, last + 1));
}

const xOf = (curve, step) => at.x(step * curve.factor);

// The bounding box of a mark, in the coordinates of `at`.
function markBox(curve, mark, at, height) {
  const middle = mark.from;
  const level = mark.level ?? valueAt(curve, middle);
  const left = xOf(curve, mark.from), right = xOf(curve, mark.to ?? mark.from);
  if (mark.kind === "transition") {
    const [high, low] = mark.span.map(at.y).sort((a, b) => a - b);
    return { left, right: Math.max(right, left + 2), top: high, bottom: low, y: at.y(level) };
  }
  if (mark.kind === "growback" || mark.kind === "rise") {
    const first = Math.max(0, placeOf(curve.steps, mark.from)), last = Math.max(first, placeOf(curve.steps, mark.to));
    const heights = curve.line.slice(first, last + 1).map(at.y);
    return { left, right: Math.max(right, left + 2), top: Math.min(...heights) - 12, bottom: Math.max(...heights) + 12 };
  }
  if (mark.kind === "plateau" || mark.kind === "floor") {
    return { left, right, top: at.y(level) - 3, bottom: at.y(level) + 3 };
  }
  let x = xOf(curve, middle), y = at.y(level);
  if (mark.kind === "spike") y = at.y(mark.level ?? peak(curve, mark)) - 9;
  if (mark.kind === "restart") y = height - 5;
  if (mark.kind === "diverged") { x = xOf(curve, mark.to ?? mark.from); y = at.y(mark.level ?? valueAt(curve, mark.to ?? mark.from)); }
  // A mark beyond the upper edge is drawn at the edge, so that it stays visible.
  return { left: x - 5, right: x + 5, top: Math.max(1, y - 5), bottom: Math.max(11, y + 5), x, y: Math.max(6, y) };
}

function drawMark(ctx, curve, mark, box, isAlone) {
  ctx.fillStyle = ctx.strokeStyle = paint(curve.colour);
  ctx.lineWidth = 1.5;
  ctx.setLineDash([]);
  ctx.beginPath();
  if (mark.kind === "growback" || mark.kind === "rise") {
    ctx.globalAlpha = 0.28;
    ctx.fillRect(box.left, box.top, box.right - box.left, box.bottom - box.top);
    ctx.globalAlpha = 1;
    ctx.strokeRect(box.left, box.top, box.right - box.left, box.bottom - box.top);
  } else if (mark.kind === "transition") {
    // From a tenth to nine tenths of the change: shaded, with a bracket at the middle.
    ctx.globalAlpha = isAlone ? 0.13 : 0;
    ctx.fillRect(box.left, box.top, box.right - box.left, box.bottom - box.top);
    ctx.globalAlpha = 1;
    for (const x of [box.left, box.right]) { ctx.moveTo(x, box.y - 5); ctx.lineTo(x, box.y + 5); }
    ctx.moveTo(box.left, box.y);
    ctx.lineTo(box.right, box.y);
    ctx.stroke();
  } else if (mark.kind === "plateau" || mark.kind === "floor") {
    ctx.globalAlpha = 0.4;
    if (mark.kind === "floor") ctx.setLineDash([3, 3]);
    ctx.lineWidth = 5;
    ctx.moveTo(box.left, box.top + 3);
    ctx.lineTo(box.right, box.top + 3);
    ctx.stroke();
    ctx.globalAlpha = 1;
  } else {
    const { x, y } = box;
    if (mark.kind === "spike") { ctx.moveTo(x - 5, y - 4); ctx.lineTo(x + 5, y - 4); ctx.lineTo(x, y + 4); }
    else if (mark.kind === "descent") { ctx.moveTo(x, y - 6); ctx.lineTo(x + 5, y); ctx.lineTo(x, y + 6); ctx.lineTo(x - 5, y); }
    else if (mark.kind === "restart") { ctx.moveTo(x, y + 5); ctx.lineTo(x, y - 5); }
    else if (mark.kind === "diverged") { ctx.moveTo(x - 5, y - 5); ctx.lineTo(x + 5, y + 5); ctx.moveTo(x + 5, y - 5); ctx.lineTo(x - 5, y + 5); }
    else ctx.arc(x, y, 4, 0, 2 * Math.PI);
    if (mark.kind === "restart" || mark.kind === "diverged") { ctx.lineWidth = 2.5; ctx.stroke(); return; }
    ctx.closePath();
    if (mark.kind === "slowdown") ctx.fillStyle = tone("--paper");
    ctx.fill();
    if (mark.kind !== "slowdown") ctx.strokeStyle = tone("--paper");
    ctx.stroke();
  }
}

// Draws the name of a plateau's level above its bar, unless it would cover another name.
function nameMark(ctx, mark, box, taken) {
  const name = mark.name || mark.kind;
  if (box.right < 0) return;
  ctx.font = "11.5px system-ui, sans-serif";
  const width = ctx.measureText(name).width;
  const left = Math.max(2, Math.min(box.left, plot.over.clientWidth - width - 2));
  const foot = box.top > 17 ? box.top - 5 : box.bottom + 12;
  const place = { name, left, right: left + width, top: foot - 11, bottom: foot + 3 };
  if (taken.some((o) => o.name === name && Math.abs(o.top - place.top) < 8)) return;
  if (taken.some((o) => o.left < place.right && o.right > place.left && o.top < place.bottom && o.bottom > place.top)) return;
  taken.push(place);
  ctx.lineWidth = 3;
  ctx.lineJoin = "round";
  ctx.strokeStyle = tone("--paper");
  ctx.strokeText(name, left, foot);
  ctx.fillStyle = tone("--ink");
  ctx.fillText(name, left, foot);
}

function drawMarks(ctx, curves, at, height, taken = []) {
  const levels = [];
  for (const curve of curves) {
    for (const mark of curve.marks) {
      const box = markBox(curve, mark, at, height);
      drawMark(ctx, curve, mark, box, curves.length <= SHADED);
      if (mark.kind === "plateau" || mark.kind === "floor") levels.push({ mark, box });
    }
  }
  for (const { mark, box } of levels) nameMark(ctx, mark, box, taken);
}

// The marks under the cursor, with their curves.
function marksNear(curves, at, height, left, top) {
  const near = [];
  for (const curve of curves) {
    for (const mark of curve.marks) {
      const box = markBox(curve, mark, at, height);
      const inside = left >= box.left - 4 && left <= box.right + 4 && top >= box.top - 5 && top <= box.bottom + 5;
      if (inside) near.push({ curve, mark });
    }
  }
  return near;
}
