"use strict";
// The page of a rescue: samples, curves that are drawn once their group is opened, and lines to copy.
detente.showFrame = (place) => {
  const panel = detente.data.samples.panels[Number(place.dataset.frame)];
  const [seed] = Object.keys(panel.frames);
  const frame = detente.frameAt(panel.frames, seed, Number(place.dataset.at));
  const show = { images: detente.showPicture, points: detente.showPoints }[panel.kind];
  const text = show(place, panel, frame, place.getAttribute("aria-label"));
  const note = place.parentElement.querySelector("[data-remark]");
  note.textContent = [note.dataset.remark, text].filter(Boolean).join(" ");
};

detente.showChart = (place) => {
  const folded = place.closest("details");
  if (folded && !folded.open) return;
  const { figure } = detente.data.charts[Number(place.dataset.chart)];
  Plotly.react(place, structuredClone(figure.data), detente.themed(structuredClone(figure.layout)), detente.config);
};

detente.showAll = () => {
  document.querySelectorAll("[data-frame]").forEach(detente.showFrame);
  document.querySelectorAll("[data-chart]").forEach(detente.showChart);
};

detente.copy = (button) => {
  const text = button.parentElement.querySelector("code");
  getSelection().selectAllChildren(text);
  const done = () => { button.textContent = "Copied"; };
  const failed = () => { button.textContent = "Selected"; };
  if (navigator.clipboard) navigator.clipboard.writeText(text.textContent).then(done, failed);
  else failed();
};

document.querySelectorAll("details").forEach((part) =>
  part.addEventListener("toggle", () => part.querySelectorAll("[data-chart]").forEach(detente.showChart)));
document.querySelectorAll("[data-copy]").forEach((button) => button.addEventListener("click", () => detente.copy(button)));
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", detente.showAll);

plotlyLoaded.then((loaded) => {
  if (!loaded) return;
  detente.showAll();
  document.documentElement.dataset.ready = "yes";
});
