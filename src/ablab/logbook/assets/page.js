// Draws the entry's curves with uPlot: a line for each variant's mean, a band over its seeds.
(function () {
  "use strict";
  const holder = document.getElementById("plot");
  if (!holder) return;
  const data = JSON.parse(document.getElementById("data").textContent);
  const column = document.getElementById("column");
  const logY = document.getElementById("log-y");
  const logX = document.getElementById("log-x");
  let plot = null;

  function aligned(curves) {
    const steps = [...new Set(curves.flatMap((curve) => curve.steps))].sort((a, b) => a - b);
    const place = new Map(steps.map((step, index) => [step, index]));
    const columns = [steps];
    for (const curve of curves) {
      for (const name of ["mean", "low", "high"]) {
        const values = new Array(steps.length).fill(undefined);
        curve.steps.forEach((step, index) => { values[place.get(step)] = curve[name][index]; });
        columns.push(values);
      }
    }
    return columns;
  }

  // Thin dotted lines at losses with a meaning (log 10, log 2, …).
  function drawLevels(levels) {
    return (u) => {
      const { ctx, bbox } = u;
      ctx.save();
      ctx.font = `${12 * devicePixelRatio}px system-ui, sans-serif`;
      ctx.strokeStyle = ctx.fillStyle = "#8a919c";
      ctx.setLineDash([2, 4]);
      for (const [name, level] of Object.entries(levels)) {
        if (level < u.scales.y.min || level > u.scales.y.max) continue;
        const y = u.valToPos(level, "y", true);
        ctx.beginPath();
        ctx.moveTo(bbox.left, y);
        ctx.lineTo(bbox.left + bbox.width, y);
        ctx.stroke();
        ctx.fillText(name, bbox.left + bbox.width - ctx.measureText(name).width - 4, y - 4);
      }
      ctx.restore();
    };
  }

  // Thin marks at the foot where a run went back to an earlier state.
  function drawRestarts(curves) {
    return (u) => {
      const { ctx, bbox } = u;
      ctx.save();
      ctx.lineWidth = devicePixelRatio;
      for (const curve of curves) {
        ctx.strokeStyle = curve.colour;
        for (const step of curve.restarts) {
          if (step < u.scales.x.min || step > u.scales.x.max) continue;
          const x = u.valToPos(step, "x", true);
          ctx.beginPath();
          ctx.moveTo(x, bbox.top + bbox.height);
          ctx.lineTo(x, bbox.top + 0.95 * bbox.height);
          ctx.stroke();
        }
      }
      ctx.restore();
    };
  }

  function draw() {
    const shown = data[column.value];
    let columns = aligned(shown.curves);
    if (logX.checked) {
      const first = columns[0].findIndex((step) => step > 0);
      columns = columns.map((values) => values.slice(first));
    }
    const series = [{ label: "step" }];
    const bands = [];
    const format = (u, value) => (value == null ? "–" : Number(value.toPrecision(4)).toString());
    shown.curves.forEach((curve, index) => {
      const base = 1 + 3 * index;
      series.push(
        { label: curve.label, stroke: curve.colour, width: 1.6, dash: curve.dash, spanGaps: true,
          points: { show: curve.steps.length < 30 }, value: format },
        { label: "low", stroke: "transparent", spanGaps: true, points: { show: false } },
        { label: "high", stroke: "transparent", spanGaps: true, points: { show: false } }
      );
      bands.push({ series: [base + 2, base + 1], fill: curve.colour + "26" });
    });
    if (plot) plot.destroy();
    plot = new uPlot({
      width: holder.clientWidth,
      height: 420,
      scales: { x: { time: false, distr: logX.checked ? 3 : 1 },
                y: { distr: logY.checked ? 3 : 1 } },
      axes: [{ label: "step", stroke: "#676e79", grid: { stroke: "#eceef1" } },
             { label: column.selectedOptions[0].textContent, stroke: "#676e79", size: 64,
               grid: { stroke: "#eceef1" } }],
      series, bands,
      legend: { markers: { width: 3, stroke: (u, i) => u.series[i].stroke(u, i),
                           fill: "transparent",
                           dash: (u, i) => (u.series[i].dash && u.series[i].dash.length
                             ? "dashed" : "solid") } },
      hooks: { drawClear: [drawLevels(shown.levels)], draw: [drawRestarts(shown.curves)] },
    }, columns, holder);
    // The band's edges follow their curve and have no place of their own in the legend.
    plot.root.querySelectorAll(".u-legend .u-series").forEach((row, index) => {
      if (index === 0) return;
      const part = (index - 1) % 3;
      if (part > 0) { row.style.display = "none"; return; }
      row.querySelector("th").addEventListener("click", () => {
        const visible = plot.series[index].show;
        plot.setSeries(index + 1, { show: visible });
        plot.setSeries(index + 2, { show: visible });
      });
    });
  }

  column.addEventListener("change", () => { logY.checked = data[column.value].wide; draw(); });
  logY.addEventListener("change", draw);
  logX.addEventListener("change", draw);
  addEventListener("resize", () => plot && plot.setSize({ width: holder.clientWidth, height: 420 }));
  logY.checked = data[column.value].wide;
  draw();
})();
