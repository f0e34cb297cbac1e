// The data of the page: curves by column, the axes and variants of the grid, and their styles.
const element = (id) => document.getElementById(id);
const holder = element("plot");
let data = JSON.parse(element("data").textContent); // column -> {title, wide, levels, steps, curves}
let grid = JSON.parse(element("grid").textContent); // {axes: [{key, values}], variants: [{label, at, style}]}

// Okabe and Ito's palette, and lighter shades of it for a dark page. Dashes and the shapes at the
// ends of curves carry the same information for readers who cannot distinguish the colours.
const COLOURS = {
  light: ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000"],
  dark: ["#4C9FE6", "#F07F3C", "#1FBF92", "#E49BC4", "#F2B632", "#9AD8FF", "#F4F4F4"],
};
const DASHES = [[], [6, 3], [2, 2], [8, 3, 2, 3]];
const dark = matchMedia("(prefers-color-scheme: dark)");
const paint = (index) => COLOURS[dark.matches ? "dark" : "light"][index % 7];
const tone = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

// A variant's colour and dash: as in the static figures, or by the value of one axis.
function styleOf(variant) {
  const chosen = grid.axes.findIndex((axis) => axis.key === state.by);
  if (chosen < 0) return { colour: variant.style[0], dash: variant.style[1] };
  const value = variant.at[chosen];
  const other = grid.axes.findIndex((axis, index) => index !== chosen && axis.values.length > 1);
  const dash = grid.axes[chosen].values.length > 7 ? Math.floor(value / 7)
    : other < 0 ? 0 : variant.at[other];
  return { colour: value % 7, dash: dash % 4 };
}

// The curves of a column, with everything needed to draw them.
function curvesOf(column) {
  const { steps, curves } = data[column];
  return curves.map((curve) => {
    const variant = grid.variants[curve.variant];
    return {
      ...curve, ...styleOf(variant), label: variant.label, steps: steps[curve.steps],
      low: curve.low || curve.mean, high: curve.high || curve.mean, marks: curve.marks || [],
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

// The index of the last step that is not above a value; -1 if there is none.
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
  return Number(value.toPrecision(5)).toLocaleString("en", { maximumFractionDigits: 8 });
}

function scientific(value, digits) {
  const [mantissa, exponent] = value.toExponential(digits - 1).split("e");
  const raised = String(Number(exponent)).replace(/[-\d]/g, (c) => c === "-" ? "⁻" : "⁰¹²³⁴⁵⁶⁷⁸⁹"[c]);
  const short = String(Number(mantissa));
  return short === "1" ? `10${raised}` : `${short}·10${raised}`;
}
