"use strict";
// Samples and spectra: each section has one slider over training and one choice of seed for all runs.
const detente = { data: JSON.parse(document.getElementById("data").textContent), hidden: new Set() };

detente.style = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
detente.find = (selector) => document.querySelector(selector);
detente.formatInteger = (number) => number.toLocaleString("en");
detente.config = { displayModeBar: false, responsive: true, scrollZoom: false };

// Colours follow the light or dark theme; dragging zooms only with a fine pointer, so that touch can scroll.
detente.themed = (layout) => {
  const axis = { gridcolor: detente.style("--plot-grid"), linecolor: detente.style("--plot-axis"), automargin: true };
  return {
    ...layout,
    paper_bgcolor: "rgba(0,0,0,0)",
    plot_bgcolor: "rgba(0,0,0,0)",
    dragmode: matchMedia("(pointer: fine)").matches ? "zoom" : false,
    font: { family: getComputedStyle(document.body).fontFamily, size: 12, color: detente.style("--quiet") },
    hoverlabel: { font: { size: 12 }, namelength: 40 },
    xaxis: { ...axis, ...layout.xaxis },
    yaxis: { ...axis, ...layout.yaxis },
  };
};

// A chart in view is drawn at once. The others wait, and are drawn one at a time, so that a page of many runs stays quick.
detente.waiting = new Map();
detente.isInView = (place) => {
  const { top, bottom } = place.getBoundingClientRect();
  return bottom > 0 && top < innerHeight;
};
detente.drawNow = (place) => {
  const draw = detente.waiting.get(place);
  detente.waiting.delete(place);
  draw();
};
detente.draw = (place, draw) => {
  detente.waiting.set(place, draw);
  if (detente.isInView(place)) detente.drawNow(place);
  else detente.drawLater();
};
detente.drawLater = () => {
  if (detente.timer || !detente.waiting.size) return;
  detente.timer = setTimeout(() => {
    detente.timer = null;
    const places = [...detente.waiting.keys()];
    if (places.length) detente.drawNow(places.find(detente.isInView) || places[0]);
    detente.drawLater();
  });
};
detente.drawn = () => new Promise((done) => {
  const look = () => (detente.waiting.size ? setTimeout(look, 20) : done());
  look();
});
addEventListener("beforeprint", () => [...detente.waiting.keys()].forEach(detente.drawNow));

// Unpack 16-bit integers in base64 to numbers in [low, high].
detente.unpack = ({ low, high, data }) => {
  const bytes = Uint8Array.from(atob(data), (letter) => letter.charCodeAt(0));
  return Array.from(new Uint16Array(bytes.buffer), (integer) => low + ((high - low) * integer) / 65535);
};

// Return the latest frame recorded at or before a step, or else the first one.
detente.frameAt = (frames, seed, step) => {
  const steps = Object.keys(frames[seed] || {}).map(Number).sort((a, b) => a - b);
  if (!steps.length) return null;
  const earlier = steps.filter((at) => at <= step);
  const at = earlier.length ? earlier[earlier.length - 1] : steps[0];
  return { at, ...frames[seed][at] };
};

detente.showPicture = (place, panel, frame, label) => {
  const image = place.querySelector("img") || place.appendChild(document.createElement("img"));
  image.alt = label;
  image.src = frame.src;
  return "";
};

detente.showPoints = (place, panel, frame) => {
  const [contour, real, fake] = structuredClone(panel.figure.data);
  real.x = detente.unpack(panel.real.x);
  real.y = detente.unpack(panel.real.y);
  fake.x = detente.unpack(frame.x);
  fake.y = detente.unpack(frame.y);
  real.marker.color = detente.style("--ink");
  const traces = [real, fake];
  if (frame.levels) {
    const [x0, x1, y0, y1] = frame.levels.extent;
    const [rows, columns] = frame.levels.shape;
    const flat = detente.unpack(frame.levels);
    contour.z = Array.from({ length: rows }, (_, row) => flat.slice(row * columns, (row + 1) * columns));
    Object.assign(contour, { x0, dx: (x1 - x0) / (columns - 1), y0, dy: (y1 - y0) / (rows - 1) });
    traces.unshift(contour);
  }
  Plotly.react(place, traces, detente.themed(structuredClone(panel.figure.layout)), detente.config);
  return frame.outside ? `${detente.formatInteger(frame.outside)} of ${detente.formatInteger(frame.count)} generated points lie outside the window.` : "";
};

// Return limits [left, right, height] that contain all frames and the imaginary axis.
detente.limits = (frames) => {
  const x = frames.flatMap((frame) => [...frame.game.x, ...(frame.method ? frame.method.x : [])]);
  const y = frames.flatMap((frame) => [...frame.game.y, ...(frame.method ? frame.method.y : [])]);
  const xMin = Math.min(0, ...x), xMax = Math.max(0, ...x);
  const margin = 0.12 * (xMax - xMin || 1);
  const height = 1.15 * Math.max(...y.map(Math.abs), 0.05 * (xMax - xMin), 1e-6);
  return [Math.min(xMin - margin, -margin), xMax + margin, height];
};

detente.allFrames = (panels) => panels.flatMap((panel) => Object.values(panel.frames).flatMap(Object.values));

detente.showSpectrum = (place, panel, frame) => {
  const scope = detente.find('[data-axes="spectra"]').value;
  const frames = scope === "step" ? [frame] : detente.allFrames(scope === "run" ? [panel] : detente.data.spectra.panels);
  const [left, right, height] = detente.limits(frames);
  const [game, method] = structuredClone(panel.figure.data);
  Object.assign(game, { x: frame.game.x, y: frame.game.y });
  // If only the eigenvalues of the plain game were recorded, they are drawn in the colour of the run.
  const eigenvalues = frame.method || frame.game;
  Object.assign(method, { x: eigenvalues.x, y: eigenvalues.y, name: frame.method ? method.name : game.name });
  const layout = detente.themed(structuredClone(panel.figure.layout));
  Object.assign(layout.xaxis, { range: [left, right] });
  Object.assign(layout.yaxis, { range: [-height, height] });
  const grey = detente.style("--quiet");
  layout.shapes = [
    { type: "rect", x0: left * 50, x1: 0, y0: 0, y1: 1, yref: "paper", line: { width: 0 }, fillcolor: "rgba(213,94,0,0.09)", layer: "below" },
    { type: "line", x0: 0, x1: 0, y0: 0, y1: 1, yref: "paper", line: { width: 1.6, color: grey }, layer: "below" },
  ];
  // Label the unstable side only if the text fits; the text above the panels explains it too.
  const hasRoom = -left > 0.3 * (right - left);
  layout.annotations = !hasRoom ? [] : [
    { x: 0, y: 1, xref: "x", yref: "paper", xanchor: "right", yanchor: "top", xshift: -4, showarrow: false, text: "unstable", font: { size: 11 } },
  ];
  if (frame.rate > 0) {
    const circle = { x0: 0, x1: 2 / frame.rate, y0: -1 / frame.rate, y1: 1 / frame.rate };
    layout.shapes.push({ type: "circle", ...circle, line: { width: 1.2, dash: "dot", color: grey }, layer: "below" });
  }
  Plotly.react(place, frame.method ? [game, method] : [method], layout, detente.config);
  return detente.describeSpectrum(frame);
};

detente.describeSpectrum = (frame) => {
  const minus = (number) => String(number).replace("-", "−");
  const describe = (name, part) => {
    const drawn = part.shown < part.count ? ` (${detente.formatInteger(part.shown)} of ${detente.formatInteger(part.count)} drawn)` : "";
    if (part.smallest === undefined) return `${name}: no finite eigenvalue.`;
    const radius = part.radius === undefined ? "" : `, largest |1 − ηλ| ${part.radius}`;
    return `${name}: smallest real part ${minus(part.smallest)}, ${detente.formatInteger(part.unstable)} of ${detente.formatInteger(part.count)} negative${radius}${drawn}.`;
  };
  const rate = frame.rate ? ` η = ${frame.rate}.` : "";
  return describe("Plain game", frame.game) + (frame.method ? " " + describe("Method", frame.method) : "") + rate;
};

detente.show = (name) => {
  const section = detente.data[name];
  if (!section.steps.length) return;
  const step = section.steps[Number(detente.find(`[data-slider="${name}"]`).value)];
  const seed = detente.find(`[data-seed="${name}"]`).value;
  detente.find(`[data-step="${name}"]`).textContent = detente.formatInteger(step);
  detente.find(`[data-slider="${name}"]`).setAttribute("aria-valuetext", `step ${step}`);
  for (const panel of section.panels) {
    const place = detente.find(`[data-panel="${name}-${panel.run}"]`);
    const note = detente.find(`[data-note="${name}-${panel.run}"]`);
    place.closest("figure").hidden = detente.hidden.has(panel.run);
    detente.waiting.delete(place);
    if (place.closest("figure").hidden) continue;
    const frame = detente.frameAt(panel.frames, seed, step);
    place.style.visibility = frame ? "" : "hidden";
    if (!frame) {
      note.textContent = `Nothing was recorded for seed ${seed}.`;
      continue;
    }
    const label = `${name} of ${detente.data.runs[panel.run].name}, seed ${seed}, step ${frame.at}`;
    place.setAttribute("aria-label", label);
    const show = { images: detente.showPicture, points: detente.showPoints, spectrum: detente.showSpectrum }[panel.kind];
    const prefix = frame.at === step ? "" : `Step ${detente.formatInteger(frame.at)}, the nearest recorded. `;
    detente.draw(place, () => {
      note.textContent = prefix + show(place, panel, frame, label);
    });
  }
};
