// The state of the controls, stored in the address so that links and reloads show the same view.
const state = {
  column: Object.keys(data)[0],
  logY: data[Object.keys(data)[0]].wide,
  logX: data[Object.keys(data)[0]].uneven,
  along: "step", // the x axis
  marks: true,
  by: "",
  smooth: 0,
  zoom: { x: null, y: null },
  hidden: new Set(), // "axis=value"
  off: new Set(), // labels of single variants
};

// The x axes that at least one variant can be placed on.
const availableX = () => Object.keys(X_AXES).filter((name) => name === "step" || grid.variants.some((variant) => name in variant.costs));

function readAddress() {
  const given = new URLSearchParams(location.hash.slice(1));
  const range = (name) => {
    const ends = (given.get(name) || "").split(",").map(Number);
    return ends.length === 2 && ends.every(isFinite) && ends[0] < ends[1] ? ends : null;
  };
  if (data[given.get("show")]) state.column = given.get("show");
  state.logY = given.has("logy") ? given.get("logy") === "1" : data[state.column].wide;
  state.logX = given.has("logx") ? given.get("logx") === "1" : data[state.column].uneven;
  state.marks = given.get("marks") !== "0";
  state.along = availableX().includes(given.get("along")) ? given.get("along") : "step";
  state.by = given.get("by") || "";
  state.smooth = Math.max(0, Math.min(30, Number(given.get("smooth")) || 0));
  state.zoom = { x: range("x"), y: range("y") };
  state.hidden = new Set(given.getAll("hide"));
  state.off = new Set(given.getAll("off"));
  if (given.has("only")) {
    const only = new Set(given.getAll("only"));
    state.off = new Set(grid.variants.map((each) => each.label).filter((name) => !only.has(name)));
  }
}

function writeAddress() {
  const kept = new URLSearchParams();
  if (state.column !== Object.keys(data)[0]) kept.set("show", state.column);
  if (state.logY !== data[state.column].wide) kept.set("logy", Number(state.logY));
  if (state.logX !== data[state.column].uneven) kept.set("logx", Number(state.logX));
  if (!state.marks) kept.set("marks", 0);
  if (state.along !== "step") kept.set("along", state.along);
  if (state.by) kept.set("by", state.by);
  if (state.smooth) kept.set("smooth", state.smooth);
  for (const axis of ["x", "y"]) {
    const range = state.zoom[axis];
    if (range) kept.set(axis, range.map((end) => Number(end.toPrecision(5))).join(","));
  }
  for (const each of state.hidden) kept.append("hide", each);
  const on = grid.variants.filter((variant) => !state.off.has(variant.label));
  if (on.length && on.length < state.off.size) for (const each of on) kept.append("only", each.label);
  else for (const each of state.off) kept.append("off", each);
  const text = kept.toString();
  if (text === location.hash.slice(1)) return;
  try {
    history.replaceState(null, "", text ? `#${text}` : location.pathname + location.search);
  } catch {
    location.hash = text; // browsers may forbid history.replaceState for local files
  }
}

const isShown = (variant) =>
  !state.off.has(variant.label)
  && variant.at.every((value, axis) => !state.hidden.has(chipName(axis, value)));

const chipName = (axis, value) => `${grid.axes[axis].key}=${grid.axes[axis].values[value]}`;
