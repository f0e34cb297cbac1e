// The figure: uPlot draws axes and lines; hooks draw bands, levels, curve ends and marks.
const MANY = 40; // with more curves than this, only the band of the selected curve is drawn
let plot = null;
let shown = []; // the visible curves
let full = { x: [0, 1], y: [0, 1] }; // the ranges without zoom

const at = {
  x: (step) => plot.valToPos(Math.max(step, state.logX ? plot.scales.x.min / 10 : -Infinity), "x"),
  y: (value) => plot.valToPos(state.logY && !(value > 0) ? plot.scales.y.min / 10 : value, "y"),
};

// The curves as columns over the union of their steps.
function aligned(curves) {
  const every = [...new Set(curves.map((curve) => curve.steps))];
  let steps = every.length === 1 ? every[0] : [...new Set(every.flat())].sort((a, b) => a - b);
  if (state.logX) steps = steps.filter((step) => step > 0);
  const place = new Map(steps.map((step, index) => [step, index]));
  const columns = curves.map((curve) => {
    const values = new Array(steps.length).fill(undefined);
    curve.steps.forEach((step, index) => {
      if (place.has(step)) values[place.get(step)] = state.logY && !(curve.line[index] > 0) ? null : curve.line[index];
    });
    return values;
  });
  return [steps.length ? steps : [1], ...columns];
}

// Draws in CSS pixels relative to the plot area, clipped at its edges plus a margin.
function inside(u, draw, margin = 0) {
  const { ctx, bbox } = u, more = margin * devicePixelRatio;
  ctx.save();
  ctx.beginPath();
  ctx.rect(bbox.left - more, bbox.top - more, bbox.width + 2 * more, bbox.height + 2 * more);
  ctx.clip();
  ctx.textAlign = "left";
  ctx.textBaseline = "alphabetic";
  ctx.translate(bbox.left, bbox.top);
  ctx.scale(devicePixelRatio, devicePixelRatio);
  draw(ctx, bbox.width / devicePixelRatio, bbox.height / devicePixelRatio);
  ctx.restore();
}

function drawBand(ctx, curve, strength) {
  if (curve.low === curve.high) return;
  ctx.beginPath();
  curve.steps.forEach((step, index) => { if (step > 0 || !state.logX) ctx.lineTo(at.x(step), at.y(curve.high[index])); });
  for (let index = curve.steps.length - 1; index >= 0; index--) {
    if (curve.steps[index] > 0 || !state.logX) ctx.lineTo(at.x(curve.steps[index]), at.y(curve.low[index]));
  }
  ctx.closePath();
  ctx.globalAlpha = strength;
  ctx.fillStyle = paint(curve.colour);
  ctx.fill();
  ctx.globalAlpha = 1;
}

// Thin dotted lines at natural levels of the loss (log 10, log 2, …).
function drawLevels(ctx, width, height) {
  ctx.font = "11.5px system-ui, sans-serif";
  ctx.strokeStyle = ctx.fillStyle = tone("--soft");
  ctx.setLineDash([2, 4]);
  for (const [name, level] of Object.entries(data[state.column].levels)) {
    const y = at.y(level);
    if (!(y > 0 && y < height)) continue;
    ctx.beginPath();
    ctx.moveTo(0, y);
    ctx.lineTo(width, y);
    ctx.stroke();
    ctx.fillText(name, width - ctx.measureText(name).width - 4, y > 16 ? y - 4 : y + 13);
  }
  ctx.setLineDash([]);
}

// A shape for each colour, so that curves can be distinguished without colour.
function drawShape(ctx, kind, x, y, size) {
  const corners = [0, 4, 3, 4, 5, 3, 6][kind];
  const turned = [0, Math.PI / 4, -Math.PI / 2, 0, -Math.PI / 2, Math.PI / 2, 0][kind];
  ctx.beginPath();
  if (!corners) ctx.arc(x, y, size * 0.85, 0, 2 * Math.PI);
  for (let n = 0; n < corners; n++) {
    const angle = turned + (2 * Math.PI * n) / corners;
    ctx.lineTo(x + size * Math.cos(angle), y + size * Math.sin(angle));
  }
  ctx.closePath();
}

function drawEnds(ctx) {
  ctx.lineWidth = 1.5;
  for (const curve of shown) {
    const last = curve.steps.length - 1;
    if (curve.steps[last] > plot.scales.x.max) continue;
    drawShape(ctx, curve.colour, at.x(curve.steps[last]), at.y(curve.line[last]), 4.5);
    ctx.fillStyle = paint(curve.colour);
    ctx.strokeStyle = tone("--paper");
    ctx.fill();
    ctx.stroke();
  }
}

// Thin marks at the bottom where a run was restarted from an earlier state.
function drawRestarts(ctx, height) {
  ctx.lineWidth = 1;
  for (const curve of shown) {
    ctx.strokeStyle = paint(curve.colour);
    for (const step of curve.restarts) {
      ctx.beginPath();
      ctx.moveTo(at.x(step), height);
      ctx.lineTo(at.x(step), 0.95 * height);
      ctx.stroke();
    }
  }
}

function draw() {
  shown = curvesOf(state.column).filter((curve) => isShown(grid.variants[curve.variant]));
  for (const curve of shown) curve.line = smoothed(curve.mean, state.smooth);
  const zoom = state.zoom;
  state.zoom = { x: null, y: null };
  full.x = rangeX(shown);
  state.zoom = zoom;
  const x = rangeX(shown), y = rangeY(shown, x);
  full.y = zoom.y ? full.y : y;
  const width = holder.clientWidth, narrow = width < 560;
  const axis = { stroke: tone("--soft"), grid: { stroke: tone("--grid"), width: 1 }, ticks: { stroke: tone("--grid"), width: 1 }, filter: (u, splits) => splits };
  if (plot) plot.destroy();
  plot = new uPlot({
    width, height: Math.round(Math.max(280, Math.min(460, width * 0.62))),
    padding: [10, 22, 0, 0],
    scales: {
      x: { time: false, distr: state.logX ? 3 : 1, range: () => x },
      y: { distr: state.logY ? 3 : 1, range: () => y },
    },
    axes: [
      { ...axis, label: "step", labelSize: 22, labelFont: "12px system-ui", size: 34, splits: ticks(state.logX, 80), values: tickLabels },
      { ...axis, label: narrow ? undefined : data[state.column].title, labelSize: 22, labelFont: "12px system-ui", size: narrow ? 48 : 60, splits: ticks(state.logY, 32), values: tickLabels },
    ],
    series: [{}, ...shown.map((curve) => ({
      stroke: paint(curve.colour), width: shown.length > MANY ? 1 : 1.7, dash: DASHES[curve.dash], spanGaps: true,
      points: { show: curve.steps.length < 30, size: 5, fill: paint(curve.colour) },
    }))],
    legend: { show: false },
    cursor: { y: false, points: { show: false }, drag: { x: true, y: true, uni: 24, dist: 4, setScale: false }, bind: { dblclick: () => () => {} } },
    hooks: {
      drawAxes: [(u) => inside(u, (ctx, wide, high) => {
        drawLevels(ctx, wide, high);
        if (shown.length <= MANY) for (const curve of shown) drawBand(ctx, curve, 0.13);
      })],
      draw: [(u) => inside(u, (ctx, wide, high) => {
        drawRestarts(ctx, high);
        if (state.marks && shown.length <= FEW) drawMarks(ctx, shown, at, high);
      }), (u) => inside(u, drawEnds, 6)],
      ready: [overlay],
      setCursor: [(u) => hover(u.cursor.left, u.cursor.top)],
      setSelect: [selected],
    },
  }, aligned(shown), holder);
  plot.over.addEventListener("dblclick", resetZoom);
  plot.over.addEventListener("click", pin);
  say();
}

function selected(u) {
  const { left, top, width, height } = u.select;
  if (u !== plot || (width < 4 && height < 4)) return;
  const zoom = { ...state.zoom };
  if (width >= 4 && width < u.over.clientWidth) zoom.x = [u.posToVal(left, "x"), u.posToVal(left + width, "x")];
  if (height >= 4 && height < u.over.clientHeight - 1) zoom.y = [u.posToVal(top + height, "y"), u.posToVal(top, "y")];
  state.zoom = zoom;
  setTimeout(changed); // after uPlot has handled the mouse event
}

function resetZoom() {
  state.zoom = { x: null, y: null };
  changed();
}

function zoomBy(factor) {
  const { x, y } = plot.scales;
  const middle = (scale, logarithmic) => logarithmic ? Math.sqrt(scale.min * scale.max) : (scale.min + scale.max) / 2;
  const place = held ? held.curve.steps[held.index] : middle(x, state.logX);
  const inView = place >= x.min && place <= x.max;
  state.zoom = {
    x: zoomed([x.min, x.max], inView ? place : middle(x, state.logX), factor, state.logX, full.x),
    y: state.zoom.y && zoomed([y.min, y.max], middle(y, state.logY), factor, state.logY, full.y),
  };
  changed();
}

// A line below the figure that lists what it does not show.
function say() {
  const said = [];
  const count = grid.variants.length, on = grid.variants.filter(isShown).length;
  if (on < count) said.push(`${on} of ${count} variants shown`);
  if (state.logX && shown.some((curve) => curve.steps[0] <= 0)) said.push("step 0 cannot be shown on a logarithmic axis");
  if (state.logY) {
    const lost = shown.reduce((sum, curve) => sum + curve.line.filter((value) => !(value > 0)).length, 0);
    if (lost) said.push(`${lost} ${lost === 1 ? "point" : "points"} at or below 0 cannot be shown on a logarithmic axis`);
  }
  if (shown.length > MANY) said.push("only the band of the curve under the cursor is drawn");
  if (state.marks && shown.length > FEW && shown.some((curve) => curve.marks.length)) {
    said.push("only the marks of the curve under the cursor are drawn");
  }
  element("said").textContent = said.join("; ");
  element("reset").disabled = !state.zoom.x && !state.zoom.y;
}
