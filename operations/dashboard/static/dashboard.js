"use strict";
// Replaces the pieces of the page that changed, and nothing else: the reader's place and zoom stay.
const main = document.getElementById("main");
const connection = document.getElementById("connection");
const PAUSE = 300, RETRY = 2000;
let source = null, isFetching = false, isWanted = false;

function say(text, isLost) {
  if (connection.textContent !== text) connection.textContent = text;
  connection.className = isLost ? "lost" : "";
}

function zoomOf(element) {
  const x = element.layout && element.layout.xaxis;
  return x && x.range && !x.autorange ? [...x.range] : null;
}

// Scrolled tables and zoomed charts of the old piece are so again in the new one.
function replace(place, digest, html) {
  const scrolled = [...place.querySelectorAll(".scroll")].map((each) => each.scrollLeft);
  const zooms = new Map();
  for (const element of place.querySelectorAll(".figure")) {
    zooms.set(element.id, zoomOf(element));
    if (window.Plotly) Plotly.purge(element);
    const at = figures.indexOf(element);
    if (at >= 0) figures.splice(at, 1);
  }
  place.innerHTML = html;
  place.dataset.digest = digest;
  place.querySelectorAll(".scroll").forEach((each, at) => { each.scrollLeft = scrolled[at] || 0; });
  for (const element of place.querySelectorAll(".figure")) {
    if (!window.Plotly) continue;
    figures.push(element);
    mount(element);
    const range = zooms.get(element.id);
    if (range) Plotly.relayout(element, { "xaxis.range": range });
  }
}

function show(pieces) {
  const left = window.scrollX, top = window.scrollY;
  while (main.children.length > pieces.length) main.lastElementChild.remove();
  pieces.forEach(([digest, html], at) => {
    if (at >= main.children.length) {
      const place = document.createElement("div");
      place.className = "piece";
      main.append(place);
    }
    const place = main.children[at];
    if (place.dataset.digest !== digest) replace(place, digest, html);
  });
  window.scrollTo(left, top);
}

async function refresh() {
  if (isFetching) { isWanted = true; return; }
  isFetching = true;
  isWanted = false;
  try {
    const answer = await fetch(`/pieces/${main.dataset.page}`, { cache: "no-store" });
    if (answer.status === 401) { window.location.reload(); return; }
    if (!answer.ok) throw new Error(`status ${answer.status}`);
    show((await answer.json()).pieces);
    say("live", false);
  } catch (error) {
    say("no connection to the dashboard; trying again", true);
  } finally {
    setTimeout(() => { isFetching = false; if (isWanted) refresh(); }, PAUSE);
  }
}

function listen() {
  if (source) source.close();
  source = new EventSource("/changes");
  source.addEventListener("open", () => { say("live", false); refresh(); });
  source.addEventListener("change", refresh);
  source.addEventListener("error", () => {
    say("no connection to the dashboard; trying again", true);
    // A refused stream is not tried again by the browser; it may be that the session has ended.
    if (source && source.readyState === EventSource.CLOSED) setTimeout(() => { refresh(); listen(); }, RETRY);
  });
}

// A browser opens six connections to a server: a tab that nobody looks at keeps none.
function attend() {
  if (document.hidden) {
    if (source) source.close();
    source = null;
  } else if (!source) listen();
}
document.addEventListener("visibilitychange", attend);
window.addEventListener("pagehide", () => { if (source) source.close(); source = null; });
window.addEventListener("pageshow", attend);
attend();
