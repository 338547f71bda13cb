"use strict";
// Curves, and the controls of the page: horizontal axis, visible runs, theme, sliders.
detente.axis = 0;
detente.axisTitles = ["step", "gradient evaluations", "seconds"];

detente.showChart = (place) => {
  const index = Number(place.dataset.chart);
  const chart = detente.data.charts[index];
  const box = detente.find(`[data-log="${index}"]`);
  const logarithmic = Boolean(box && box.checked);
  const layout = detente.themed(structuredClone(chart.figure.layout));
  Object.assign(layout.xaxis, { title: { text: detente.axisTitles[detente.axis], standoff: 6 }, zeroline: false, nticks: 6 });
  Object.assign(layout.yaxis, { type: logarithmic ? "log" : "linear", zeroline: false, nticks: 6, tickformat: "~g" });
  layout.yaxis.range = chart.ranges[Number(logarithmic)];
  const decades = layout.yaxis.range[1] - layout.yaxis.range[0];
  if (logarithmic && decades > 1.2) layout.yaxis.dtick = Math.ceil(decades / 6);
  const traces = structuredClone(chart.figure.data).map((trace) => {
    trace.x = chart.axes[trace.meta.axis][detente.axis];
    trace.visible = !detente.hidden.has(trace.meta.run);
    // A band edge at or below zero cannot be drawn on a logarithmic axis, so it is moved below the visible range.
    if (logarithmic && trace.meta.role === "low") trace.y = trace.y.map((y) => Math.max(y, 10 ** (layout.yaxis.range[0] - 1)));
    return trace;
  });
  Plotly.react(place, traces, layout, detente.config);
};

detente.showCharts = () =>
  document.querySelectorAll("[data-chart]").forEach((place) => detente.draw(place, () => detente.showChart(place)));
detente.showAll = () => {
  detente.showCharts();
  detente.show("samples");
  detente.show("spectra");
};

detente.play = (name, button) => {
  const slider = detente.find(`[data-slider="${name}"]`);
  const stop = () => {
    clearInterval(button.timer);
    button.timer = null;
    button.textContent = "▶";
    button.setAttribute("aria-label", "Play through training");
  };
  if (button.timer) return stop();
  if (slider.value === slider.max) slider.value = slider.min;
  button.textContent = "❚❚";
  button.setAttribute("aria-label", "Pause");
  detente.show(name);
  button.timer = setInterval(() => {
    slider.value = String(Number(slider.value) + 1);
    detente.show(name);
    if (slider.value === slider.max) stop();
  }, 700);
};

document.querySelectorAll('[name="axis"]').forEach((choice) =>
  choice.addEventListener("change", () => {
    detente.axis = Number(choice.value);
    detente.showCharts();
  }));
document.querySelectorAll("[data-log]").forEach((box) =>
  box.addEventListener("change", () => detente.showChart(detente.find(`[data-chart="${box.dataset.log}"]`))));
document.querySelectorAll(".chip").forEach((chip) =>
  chip.addEventListener("click", () => {
    const run = Number(chip.dataset.run);
    if (!detente.hidden.delete(run)) detente.hidden.add(run);
    chip.setAttribute("aria-pressed", String(!detente.hidden.has(run)));
    detente.showAll();
  }));
for (const [attribute, event] of [["slider", "input"], ["seed", "change"], ["axes", "change"]]) {
  document.querySelectorAll(`[data-${attribute}]`).forEach((control) =>
    control.addEventListener(event, () => detente.show(control.dataset[attribute])));
}
document.querySelectorAll("[data-play]").forEach((button) =>
  button.addEventListener("click", () => detente.play(button.dataset.play, button)));
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", detente.showAll);

// The browser may have restored another choice of axis.
detente.axis = Number(detente.find('[name="axis"]:checked').value);
plotlyLoaded.then((loaded) => {
  if (!loaded) return;
  detente.showAll();
  detente.drawn().then(() => { document.documentElement.dataset.ready = "yes"; });
});
