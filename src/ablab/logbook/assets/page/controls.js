// Controls: chips for the values of each axis, a list of variants, axes, colours, zoom.
function changed() {
  writeAddress();
  draw();
  showSwitches();
}

// A legend entry of a curve: its colour, dash and shape.
function swatch({ colour, dash, shape }) {
  const made = document.createElement("canvas");
  made.className = "swatch";
  made.width = 30 * devicePixelRatio;
  made.height = 12 * devicePixelRatio;
  const ctx = made.getContext("2d");
  ctx.scale(devicePixelRatio, devicePixelRatio);
  ctx.strokeStyle = ctx.fillStyle = paint(colour);
  ctx.lineWidth = 2;
  ctx.setLineDash(DASHES[dash]);
  ctx.beginPath();
  ctx.moveTo(0, 6);
  ctx.lineTo(30, 6);
  ctx.stroke();
  ctx.setLineDash([]);
  drawShape(ctx, shape, 15, 6, 4.5);
  ctx.fill();
  return made;
}

function make(kind, attributes, ...children) {
  const made = document.createElement(kind);
  for (const [name, value] of Object.entries(attributes)) {
    if (name === "onclick") made.addEventListener("click", value);
    else made.setAttribute(name, value);
  }
  made.append(...children);
  return made;
}

function buildChips() {
  const groups = grid.axes.map((axis, number) => {
    if (axis.values.length < 2 || axis.values.length === grid.variants.length && grid.axes.length === 1 && axis.values.length > 30) return "";
    const chips = axis.values.map((value, index) => make("button", {
      type: "button", class: "chip", "data-chip": chipName(number, index), "data-value": index,
      title: "Click to hide or show; double-click to show only this one",
    }, make("span", { class: "dot" }), value));
    const all = make("button", { type: "button", class: "chip all", onclick: () => {
      axis.values.forEach((_, index) => state.hidden.delete(chipName(number, index)));
      changed();
    } }, "all");
    const group = make("div", { class: "chips", role: "group", "aria-label": axis.key }, make("span", { class: "key", title: axis.key }, axis.short), ...chips, all);
    chips.forEach((chip, index) => {
      const name = chipName(number, index);
      chip.addEventListener("click", () => {
        if (state.hidden.has(name)) state.hidden.delete(name); else state.hidden.add(name);
        changed();
      });
      chip.addEventListener("dblclick", () => {
        axis.values.forEach((_, other) => state.hidden.add(chipName(number, other)));
        state.hidden.delete(name);
        changed();
      });
    });
    return group;
  });
  element("chips").replaceChildren(...groups);
}

function buildNames() {
  const list = element("names");
  element("variants").hidden = grid.variants.length < 2;
  element("variants").open = grid.variants.length <= 12;
  element("search").hidden = grid.variants.length <= 12;
  list.replaceChildren(...grid.variants.map((variant, index) => {
    const box = make("input", { type: "checkbox" });
    box.addEventListener("change", () => {
      if (box.checked) state.off.delete(variant.label); else state.off.add(variant.label);
      changed();
    });
    const label = make("label", { "data-variant": index }, box, make("span", { class: "line" }), make("span", { class: "name", title: variant.label }, variant.name));
    label.addEventListener("mouseenter", () => {
      const curve = shown.find((each) => each.variant === index);
      if (curve && !pinned) hold({ curve, line: curve, index: curve.steps.length - 1 });
    });
    label.addEventListener("mouseleave", () => { if (!pinned) hold(null); });
    return label;
  }));
}

// Updates all controls from the state.
function showSwitches() {
  element("column").value = state.column;
  element("log-y").checked = state.logY;
  element("log-x").checked = state.logX;
  element("marks").checked = state.marks;
  element("by").value = state.by;
  element("along").value = state.along;
  element("smooth").value = state.smooth;
  element("marks").closest("label").hidden = !data[state.column].curves.some((curve) => (curve.marks || []).length);
  for (const chip of document.querySelectorAll("[data-chip]")) {
    chip.setAttribute("aria-pressed", String(!state.hidden.has(chip.dataset.chip)));
    const coloured = colouredAxis() && chip.dataset.chip.startsWith(`${colouredAxis().key}=`);
    chip.querySelector(".dot").style.background = coloured ? paint(colouredAxis().colours[Number(chip.dataset.value)]) : "";
  }
  const on = grid.variants.filter(isShown).length;
  element("count").textContent = `Variants: ${on} of ${grid.variants.length} shown`;
  for (const label of document.querySelectorAll("#names label")) {
    const variant = grid.variants[label.dataset.variant];
    label.querySelector("input").checked = !state.off.has(variant.label);
    label.classList.toggle("faint", !isShown(variant));
    label.querySelector(".line").replaceChildren(swatch(styleOf(variant)));
  }
}

// The axis that the colours encode, or null.
function colouredAxis() {
  if (state.by) return grid.axes.find((axis) => axis.key === state.by) || null;
  return grid.axes.find((axis, number) => grid.variants.every((variant) => variant.style[0] === axis.colours[variant.at[number]])) || null;
}

function buildBy() {
  const options = grid.axes.filter((axis) => axis.values.length > 1).map((axis) => make("option", { value: axis.key }, axis.short));
  element("by").replaceChildren(make("option", { value: "" }, "as in the figures"), ...options);
  element("by").closest("label").hidden = options.length < 2 && grid.variants.length < 8;
}

function buildAlong() {
  const names = availableX();
  element("along").replaceChildren(...names.map((name) => make("option", { value: name }, { ...X_AXES, step: "steps", seconds: "seconds" }[name])));
  element("along").value = state.along;
  element("along").closest("label").hidden = names.length < 2;
}

function listen() {
  element("column").addEventListener("change", (event) => {
    state.column = event.target.value;
    state.logY = data[state.column].wide;
    state.zoom = { x: state.zoom.x, y: null };
    changed();
  });
  const zoomFree = (axis) => { state.zoom = { ...state.zoom, [axis]: null }; };
  element("log-y").addEventListener("change", (event) => { state.logY = event.target.checked; zoomFree("y"); changed(); });
  element("log-x").addEventListener("change", (event) => { state.logX = event.target.checked; zoomFree("x"); changed(); });
  element("along").addEventListener("change", (event) => { state.along = event.target.value; zoomFree("x"); changed(); });
  element("marks").addEventListener("change", (event) => { state.marks = event.target.checked; changed(); });
  element("by").addEventListener("change", (event) => { state.by = event.target.value; changed(); });
  element("smooth").addEventListener("input", (event) => { state.smooth = Number(event.target.value); changed(); });
  element("reset").addEventListener("click", resetZoom);
  element("closer").addEventListener("click", () => zoomBy(0.5));
  element("wider").addEventListener("click", () => zoomBy(2));
  element("all").addEventListener("click", () => { state.off.clear(); state.hidden.clear(); changed(); });
  element("none").addEventListener("click", () => { for (const { label } of grid.variants) state.off.add(label); changed(); });
  element("search").addEventListener("input", (event) => {
    const words = event.target.value.toLowerCase().split(/\s+/);
    for (const label of document.querySelectorAll("#names label")) {
      const text = `${label.textContent} ${grid.variants[label.dataset.variant].label}`.toLowerCase();
      label.hidden = !words.every((word) => text.includes(word));
    }
  });
  element("static").addEventListener("click", (event) => {
    const open = document.documentElement.classList.toggle("figures");
    event.target.setAttribute("aria-pressed", String(open));
  });
  holder.addEventListener("keydown", onKey);
}
