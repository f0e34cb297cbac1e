// The data of the page: curves by column, the axes and variants of the grid, and their styles.
const element = (id) => document.getElementById(id);
const holder = element("plot");
let data = JSON.parse(element("data").textContent); // column -> {title, wide, uneven, levels, steps, curves}
withBothLosses();
let grid = JSON.parse(element("grid").textContent); // {axes, colours, by, flops, variants}

// Colours have a partner for a dark page. Dashes and the shapes at the ends of curves carry the
// same information for readers who cannot distinguish the colours.
const DASHES = [[], [6, 3], [2, 2], [8, 3, 2, 3]];
const SHAPES = 7;
const HELD_OUT_DASH = 2; // where the training loss of the variant is drawn too
const dark = matchMedia("(prefers-color-scheme: dark)");
const paint = (index) => grid.colours[dark.matches ? "dark" : "light"][index];
const tone = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

// A variant's colour, dash and shape: as in the static figures, or by the value of one axis.
function styleOf(variant) {
  const chosen = grid.axes.findIndex((axis) => axis.key === state.by);
  if (chosen < 0) return { colour: variant.style[0], dash: variant.style[1], shape: variant.style[2] };
  const value = variant.at[chosen];
  const other = grid.axes.findIndex((axis, index) => index !== chosen);
  const dash = other < 0 || grid.axes[other].values.length > DASHES.length ? 0 : variant.at[other];
  return { colour: grid.axes[chosen].colours[value], dash, shape: value % SHAPES };
}

// Numbers are packed as base64, as the first three bytes of float32.
function unpack(text) {
  const bytes = atob(text);
  const words = new Uint32Array(bytes.length / 3);
  for (let at = 0, word = 0; at < bytes.length; at += 3, word++) {
    words[word] = ((bytes.charCodeAt(at) << 24) | (bytes.charCodeAt(at + 1) << 16) | (bytes.charCodeAt(at + 2) << 8)) >>> 0;
  }
  return new Float32Array(words.buffer);
}

// A figure of the training loss and the held-out loss together, made of the curves of both.
function withBothLosses() {
  const { train_loss: training, eval_loss: heldOut } = data;
  if (!training || !heldOut) return;
  const both = [training, heldOut];
  const losses = {
    title: "training and held-out loss", of: ["train_loss", "eval_loss"], levels: training.levels,
    wide: both.some((each) => each.wide), uneven: both.some((each) => each.uneven),
    curves: [...training.curves, ...heldOut.curves],
  };
  data = Object.fromEntries(Object.entries(data).flatMap((each) => each[0] === "eval_loss" ? [each, ["both-losses", losses]] : [each]));
}

let unpacked = {}; // the curves of the columns that have been shown
function unpackedCurves(column) {
  if (data[column].of) {
    const [training, heldOut] = data[column].of.map(unpackedCurves);
    return [...training, ...heldOut.map((curve) => ({ ...curve, isHeldOut: true }))];
  }
  const { steps, curves } = data[column];
  const line = (packed) => {
    const values = unpack(packed.values);
    return {
      steps: steps[packed.steps], values,
      low: packed.low ? unpack(packed.low) : values, high: packed.high ? unpack(packed.high) : values,
    };
  };
  unpacked[column] ??= curves.map((curve) => ({
    ...curve, ...line(curve), marks: curve.marks || [],
    seeds: (curve.seeds || []).map((seed) => ({ ...seed, ...line(seed) })),
  }));
  return unpacked[column];
}

// The x axes, with the word on the axis. A point's place is its step times the cost of a step.
const X_AXES = { step: "step", tokens: "tokens", seconds: "seconds of training", flops: "FLOPs" };
const costOf = (variant) => state.along === "step" ? 1 : variant.costs[state.along];
const isPlaced = (variant) => costOf(variant) !== undefined;

// The visible curves of a column, with everything needed to draw them.
function curvesOf(column) {
  return unpackedCurves(column).filter((curve) => {
    const variant = grid.variants[curve.variant];
    return isShown(variant) && isPlaced(variant);
  }).map((curve) => {
    const variant = grid.variants[curve.variant];
    const factor = costOf(variant);
    const placed = (line, by) => ({ ...line, line: smoothed(line.values, state.smooth), xs: line.steps.map((step) => step * by) });
    const own = state.along === "seconds" && variant.costs.seeds || {};
    const style = styleOf(variant);
    if (curve.isHeldOut) style.dash = HELD_OUT_DASH;
    return {
      ...placed(curve, factor), ...style, name: `${variant.name}${curve.isHeldOut ? ", held-out" : ""}`, factor,
      seeds: curve.seeds.map((seed) => placed(seed, own[seed.seed] ?? factor)),
    };
  });
}

function smoothed(values, reach) {
  if (!reach) return values;
  const sums = [0];
  for (const value of values) sums.push(sums[sums.length - 1] + value);
  return values.map((_, index) => {
    // Equally many points on both sides, so that smoothing does not bend the ends of a curve.
    const width = Math.min(reach, index, values.length - 1 - index);
    return (sums[index + width + 1] - sums[index - width]) / (2 * width + 1);
  });
}

// The index of the last entry that is not above a value; -1 if there is none.
function placeOf(steps, value) {
  let low = 0, high = steps.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (steps[middle] <= value) low = middle + 1; else high = middle;
  }
  return low - 1;
}

function written(value) {
  if (value == null || !isFinite(value)) return "–";
  const size = Math.abs(value);
  if (size !== 0 && (size < 1e-3 || size >= 1e6)) return scientific(value, 4);
  return Number(value.toPrecision(4)).toLocaleString("en", { maximumFractionDigits: 8 });
}

const writtenCost = (value) => value >= 1e9 ? scientific(value, 4) : Number(value.toPrecision(6)).toLocaleString("en", { maximumFractionDigits: 3 });

function scientific(value, digits) {
  const [mantissa, exponent] = value.toExponential(digits - 1).split("e");
  const raised = String(Number(exponent)).replace(/[-\d]/g, (c) => c === "-" ? "⁻" : "⁰¹²³⁴⁵⁶⁷⁸⁹"[c]);
  const short = String(Number(mantissa));
  return short === "1" ? `10${raised}` : `${short}·10${raised}`;
}
