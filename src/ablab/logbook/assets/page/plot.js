// The figure: uPlot draws axes, grid and selection; hooks draw curves, levels, curve ends and marks.
const FEW_VARIANTS = 12; // with more curves than this, only the seeds of the selected one are drawn
const MANY = 40; // with more curves than this, only the band of the selected curve is drawn
let plot = null;
let shown = []; // the visible curves
let full = { x: [0, 1], y: [0, 1] }; // the ranges without zoom

const at = {
  x: (x) => plot.valToPos(Math.max(x, state.logX ? plot.scales.x.min / 10 : -Infinity), "x"),
  y: (value) => plot.valToPos(state.logY && !(value > 0) ? plot.scales.y.min / 10 : value, "y"),
};

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

// The path of a line; points that a logarithmic axis cannot show are left out.
function pathOf(ctx, { xs, line }) {
  ctx.beginPath();
  for (let index = 0; index < xs.length; index++) {
    if ((xs[index] > 0 || !state.logX) && (line[index] > 0 || !state.logY)) ctx.lineTo(at.x(xs[index]), at.y(line[index]));
  }
}

function trace(ctx, line, colour, width, dash = []) {
  pathOf(ctx, line);
  ctx.lineJoin = "round";
  ctx.strokeStyle = colour;
  ctx.lineWidth = width;
  ctx.setLineDash(dash);
  ctx.stroke();
  ctx.setLineDash([]);
}

// A few points are also drawn as dots.
function drawDots(ctx, { xs, line }, colour) {
  if (xs.length >= 30) return;
  ctx.fillStyle = colour;
  for (let index = 0; index < xs.length; index++) {
    if ((xs[index] > 0 || !state.logX) && (line[index] > 0 || !state.logY)) {
      ctx.beginPath();
      ctx.arc(at.x(xs[index]), at.y(line[index]), 2.5, 0, 2 * Math.PI);
      ctx.fill();
    }
  }
}

// The range between a line's lowest and highest values.
function drawBand(ctx, line, colour, strength) {
  if (line.low === line.high) return;
  ctx.beginPath();
  line.xs.forEach((x, index) => { if (x > 0 || !state.logX) ctx.lineTo(at.x(x), at.y(line.high[index])); });
  for (let index = line.xs.length - 1; index >= 0; index--) {
    if (line.xs[index] > 0 || !state.logX) ctx.lineTo(at.x(line.xs[index]), at.y(line.low[index]));
  }
  ctx.closePath();
  ctx.globalAlpha = strength;
  ctx.fillStyle = paint(colour);
  ctx.fill();
  ctx.globalAlpha = 1;
}

// Each seed as a thin line, and the extremes of its points where they cover several steps.
function drawSeeds(ctx, curve) {
  for (const seed of curve.seeds) {
    drawBand(ctx, seed, curve.colour, 0.09);
    ctx.globalAlpha = 0.5;
    trace(ctx, seed, paint(curve.colour), 1);
    ctx.globalAlpha = 1;
  }
}

// What lies below the curves: seeds, or the range over them.
function drawBelow(ctx, wide, high) {
  const names = drawLevels(ctx, wide, high);
  for (const curve of shown) {
    if (shown.length <= FEW_VARIANTS && curve.seeds.length) drawSeeds(ctx, curve);
    else if (shown.length <= MANY) drawBand(ctx, curve, curve.colour, 0.1);
  }
  return names;
}

function drawCurves(ctx) {
  for (const curve of shown) {
    trace(ctx, curve, paint(curve.colour), shown.length > MANY ? 1 : 2, DASHES[curve.dash]);
    drawDots(ctx, curve, paint(curve.colour));
  }
}

// Thin dotted lines at natural levels of the loss (log 10, log 2, …). Returns where their names are.
function drawLevels(ctx, width, height) {
  ctx.font = "11.5px system-ui, sans-serif";
  ctx.strokeStyle = ctx.fillStyle = tone("--soft");
  ctx.setLineDash([2, 4]);
  const taken = [];
  for (const [name, level] of Object.entries(data[state.column].levels)) {
    const y = at.y(level);
    if (!(y > 0 && y < height)) continue;
    ctx.beginPath();
    ctx.moveTo(0, y);
    ctx.lineTo(width, y);
    ctx.stroke();
    const left = width - ctx.measureText(name).width - 4, foot = y > 16 ? y - 4 : y + 13;
    ctx.fillText(name, left, foot);
    taken.push({ name, left, right: width, top: foot - 11, bottom: foot + 3 });
  }
  ctx.setLineDash([]);
  return taken;
}

// A shape for each value of the coloured axis, so that curves can be distinguished without colour.
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
    const last = curve.xs.length - 1;
    if (curve.xs[last] > plot.scales.x.max) continue;
    drawShape(ctx, curve.shape, at.x(curve.xs[last]), at.y(curve.line[last]), shown.length > MANY ? 3 : 4.5);
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
      ctx.moveTo(xOf(curve, step), height);
      ctx.lineTo(xOf(curve, step), 0.95 * height);
      ctx.stroke();
    }
  }
}

function draw() {
  shown = curvesOf(state.column);
  let names = []; // where the names of levels are, which those of marks must not cover
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
      { ...axis, label: X_AXES[state.along], labelSize: 22, labelFont: "12px system-ui", size: 34, splits: ticks(state.logX, 80), values: tickLabels },
      { ...axis, label: narrow ? undefined : data[state.column].title, labelSize: 22, labelFont: "12px system-ui", size: narrow ? 48 : 60, splits: ticks(state.logY, 32), values: tickLabels },
    ],
    series: [{}, {}],
    legend: { show: false },
    cursor: { y: false, points: { show: false }, drag: { x: true, y: true, uni: 24, dist: 4, setScale: false }, bind: { dblclick: () => () => {} } },
    hooks: {
      drawAxes: [(u) => inside(u, (ctx, wide, high) => { names = drawBelow(ctx, wide, high); })],
      draw: [(u) => inside(u, (ctx, wide, high) => {
        drawCurves(ctx);
        drawRestarts(ctx, high);
        if (state.marks && shown.length <= FEW) drawMarks(ctx, shown, at, high, [...names]);
      }), (u) => inside(u, drawEnds, 6)],
      ready: [overlay],
      setCursor: [(u) => hover(u.cursor.left, u.cursor.top)],
      setSelect: [selected],
    },
  }, [x, [null, null]], holder);
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
  const place = held ? held.line.xs[held.index] : middle(x, state.logX);
  const inView = place >= x.min && place <= x.max;
  state.zoom = {
    x: zoomed([x.min, x.max], inView ? place : middle(x, state.logX), factor, state.logX, full.x),
    y: state.zoom.y && zoomed([y.min, y.max], middle(y, state.logY), factor, state.logY, full.y),
  };
  changed();
}

// A line below the figure that lists what it does not show, and how its axes were made.
function say() {
  const said = [];
  const count = grid.variants.length, on = grid.variants.filter(isShown).length;
  if (on < count) said.push(`${on} of ${count} variants shown`);
  const placed = grid.variants.filter((variant) => isShown(variant) && isPlaced(variant)).length;
  if (placed < on) said.push(`the ${state.along === "flops" ? "FLOPs" : state.along} of ${on - placed} of them are not known`);
  if (!state.by && grid.by) said.push(`colours show ${grid.axes.find((axis) => axis.key === grid.by).short} only, since there are too many variants for a style of each`);
  const several = shown.some((curve) => curve.count > 1);
  if (several && !shown.some((curve) => curve.seeds.length)) said.push("single seeds are left out to limit the size of the page; the band is their range");
  else if (several && shown.length > FEW_VARIANTS) said.push("only the seeds of the curve under the cursor are drawn");
  if (state.along === "seconds") said.push("seconds are a run's own share of the training time, divided evenly over its steps");
  if (state.along === "flops") said.push(`FLOPs are estimated: ${grid.flops}`);
  if (state.logX && shown.some((curve) => curve.xs[0] <= 0)) said.push("step 0 cannot be shown on a logarithmic axis");
  if (state.logY) {
    const lost = shown.reduce((sum, curve) => sum + curve.line.filter((value) => !(value > 0)).length, 0);
    if (lost) said.push(`${lost} ${lost === 1 ? "point" : "points"} at or below 0 cannot be shown on a logarithmic axis`);
  }
  if (shown.length > MANY) said.push("only the band of the curve under the cursor is drawn");
  if (state.marks && shown.length > FEW && shown.some((curve) => curve.marks.length)) {
    said.push("only the marks of the curve under the cursor are drawn");
  }
  const text = said.join("; ");
  element("said").textContent = text && `${text[0].toUpperCase()}${text.slice(1)}.`;
  element("reset").disabled = !state.zoom.x && !state.zoom.y;
}
