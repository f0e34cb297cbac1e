// Ranges and ticks of the axes, linear and logarithmic.
function rangeX(curves) {
  if (state.zoom.x) return state.zoom.x;
  let low = Infinity, high = -Infinity;
  for (const { xs } of curves.flatMap(linesOf)) {
    const first = state.logX ? xs.find((x) => x > 0) : xs[0];
    if (first !== undefined) low = Math.min(low, first);
    high = Math.max(high, xs[xs.length - 1]);
  }
  if (!isFinite(low) || !(high > 0 || !state.logX)) return [1, 10];
  if (low < high) return [low, high];
  return state.logX ? [low / 2, high * 2] : [low - 1, high + 1];
}

// The lines of a curve that are drawn: its median, and its seeds if there are few curves.
const linesOf = (curve) => shown.length <= FEW_VARIANTS ? [curve, ...curve.seeds] : [curve];

// The range of the lines in view. Extremes of thinned points extend it by at most their span.
function rangeY(curves, [from, to]) {
  if (state.zoom.y) return state.zoom.y;
  const usable = (value) => value != null && (!state.logY || value > 0);
  let low = Infinity, high = -Infinity, lowest = Infinity, highest = -Infinity;
  for (const curve of curves.flatMap(linesOf)) {
    const first = Math.max(0, placeOf(curve.xs, from));
    const last = Math.min(curve.xs.length - 1, placeOf(curve.xs, to) + 1);
    for (let index = first; index <= last; index++) {
      const value = curve.line[index];
      if (usable(value)) { low = Math.min(low, value); high = Math.max(high, value); }
      if (usable(curve.low[index])) lowest = Math.min(lowest, curve.low[index]);
      if (usable(curve.high[index])) highest = Math.max(highest, curve.high[index]);
    }
  }
  if (!isFinite(low)) return state.logY ? [0.1, 10] : [0, 1];
  const [forward, back] = state.logY ? [Math.log10, (x) => 10 ** x] : [(x) => x, (x) => x];
  [low, high, lowest, highest] = [low, high, lowest, highest].map(forward);
  const span = high - low || Math.abs(high) * 0.1 || 1;
  low = Math.max(lowest, low - span);
  high = Math.min(highest, high + span);
  const pad = (high - low || span) * 0.04;
  return [back(low - pad), back(high + pad)];
}

function logSplits(least, most, room) {
  const decades = Math.log10(most / least);
  const found = [];
  if (decades < 1) return linearSplits(least, most, room);
  const stride = Math.max(1, Math.ceil(decades / room));
  const between = decades * 3 <= room ? [1, 2, 5] : decades * 2 <= room ? [1, 3] : [1];
  for (let power = Math.floor(Math.log10(least)); power <= Math.log10(most); power++) {
    if (((power % stride) + stride) % stride) continue;
    for (const factor of between) {
      const value = Number((factor * 10 ** power).toPrecision(6));
      if (value >= least && value <= most) found.push(value);
    }
  }
  return found;
}

function linearSplits(least, most, room) {
  const rough = (most - least) / Math.max(2, room);
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 2.5, 5, 10].map((each) => each * power).find((each) => each >= rough);
  const found = [];
  for (let n = Math.ceil(least / step); n * step <= most; n++) found.push(Number((n * step).toPrecision(10)));
  return found;
}

const ticks = (logarithmic, pixels) => (u, axis, least, most) => {
  const length = axis === 0 ? u.bbox.width : u.bbox.height;
  const room = Math.max(2, Math.floor(length / devicePixelRatio / pixels));
  return (logarithmic ? logSplits : linearSplits)(least, most, room);
};

const tickLabels = (u, values) => values.map((value) => {
  const size = Math.abs(value);
  if (size === 0) return "0";
  if (size < 1e-4 || size >= 1e6) return scientific(value, 3);
  return value.toLocaleString("en", { maximumFractionDigits: 8 });
});

// Zooms around a position by a factor; null means the full range.
function zoomed([low, high], place, factor, logarithmic, [least, most]) {
  const [forward, back] = logarithmic ? [Math.log10, (x) => 10 ** x] : [(x) => x, (x) => x];
  const around = forward(place);
  const ends = [low, high].map((end) => back(around + (forward(end) - around) * factor));
  const within = [Math.max(ends[0], least), Math.min(ends[1], most)];
  return within[0] <= least && within[1] >= most ? null : within;
}
