"use strict";
// Plotly is in the page compressed, which keeps the page small. It is unpacked and run before the first chart is drawn;
// the promise tells whether it could be.
const plotlyLoaded = (async () => {
  if (typeof DecompressionStream === "undefined") {
    const note = document.createElement("p");
    note.textContent = "The curves, samples and spectra need a newer browser (of 2023 or later); sentences and tables do not.";
    document.querySelector("main").prepend(note);
    return false;
  }
  const bytes = Uint8Array.from(atob("PACKED"), (letter) => letter.charCodeAt(0));
  const unpacked = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  const script = document.createElement("script");
  script.textContent = await new Response(unpacked).text(); // the page's policy allows this text and no other
  document.head.append(script);
  return true;
})();
