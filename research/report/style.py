"""The page's style sheet and its script."""

from __future__ import annotations

import json
import re

from research.report import theme
from research.report.theme import FONT

_VARIABLES = {
    "ink": theme.INK,
    "muted": theme.MUTED,
    "rule": theme.RULE,
    "gain": theme.GAIN,
    "loss": theme.LOSS,
    "accent": theme.ACCENT,
    "paper": theme.PAPER,
    "ground": theme.GROUND,
    "well": theme.WELL,
    "faint": theme.FAINT,
    "caveat": theme.CAVEAT,
}
LIGHT = {colour: colour for colour in _VARIABLES.values()}
DARK = theme.DARK


def _packed(css: str) -> str:
    """Return a style sheet without the spaces that only its authors need."""
    return re.sub(r"\s*([{};,])\s*", r"\1", css).strip()


def _variables(colours: dict[str, str]) -> str:
    """Return CSS variables with the counterparts in `colours` of the light colours."""
    return " ".join(f"--{name}: {colours[colour]};" for name, colour in _VARIABLES.items())


# What the pieces look like, on a page and in a notebook.
_PIECES = """
header { border-top: 3px solid var(--ink); padding: 18px 0 20px; }
h1 { font-size: 27px; line-height: 1.2; font-weight: 650; letter-spacing: -0.01em; margin: 0; }
h1 small { font-size: 17px; font-weight: 400; color: var(--muted); letter-spacing: 0; margin-left: 10px; }
.facts { margin: 8px 0 0; color: var(--muted); display: flex; flex-wrap: wrap; gap: 4px 20px;
  align-items: center; }
.facts b:not([class]) { color: var(--ink); font-weight: 600; }
.proxy { color: var(--accent); border: 1px solid var(--accent); border-radius: 3px; padding: 1px 8px;
  font-size: 12px; font-weight: 600; background: var(--caveat); }
h2 { font-size: 14px; font-weight: 650; margin: 0 0 2px; }
h3 { font-size: 11px; font-weight: 650; letter-spacing: 0.07em; text-transform: uppercase;
  color: var(--muted); margin: 0 0 4px; }
.caption { margin: 0 0 8px; font-size: 12px; line-height: 1.45; color: var(--muted); }
.grid { display: grid; grid-template-columns: repeat(2, minmax(0, 1fr)); gap: 16px; }
.card { background: var(--paper); border: 1px solid var(--rule); border-radius: 6px;
  padding: 16px 18px; min-width: 0; }
.card { display: flex; flex-direction: column; }
.card > h2:not(:has(+ .caption)) { margin-bottom: 10px; }
.card a { color: inherit; text-underline-offset: 2px; }
.wide { grid-column: 1 / -1; }
.before { margin-bottom: 16px; }
.after { margin-top: 16px; }
.kpis { display: grid; grid-template-columns: repeat(5, minmax(0, 1fr)); background: var(--rule); gap: 1px;
  border: 1px solid var(--rule); border-radius: 6px; overflow: hidden; margin-bottom: 16px; }
.kpi:last-child:nth-child(5n+4) { grid-column: span 2; }
.kpi:last-child:nth-child(5n+3) { grid-column: span 3; }
.kpi:last-child:nth-child(5n+2) { grid-column: span 4; }
.kpi:last-child:nth-child(5n+1) { grid-column: span 5; }
.kpi { background: var(--paper); padding: 13px 18px 12px; min-width: 0; }
.kpi span { display: block; font-size: 12px; line-height: 1.35; color: var(--muted); }
.kpi b { display: block; font-size: 22px; line-height: 1.3; font-weight: 620; letter-spacing: -0.01em;
  font-variant-numeric: tabular-nums; white-space: nowrap; }
.loss { color: var(--loss); }
.good { color: var(--gain); }
.spark { display: block; width: 100%; height: 110px; margin: 4px 0 2px; }
table .spark { width: 180px; height: 40px; }
.spark polyline { fill: none; stroke: var(--gain); stroke-width: 1.6; vector-effect: non-scaling-stroke; }
.spark line { stroke: var(--muted); stroke-dasharray: 2 4; vector-effect: non-scaling-stroke; }
table { border-collapse: collapse; width: 100%; font-size: 12.5px; font-variant-numeric: tabular-nums; }
.scroll { overflow-x: auto; background:
  linear-gradient(to left, var(--paper) 40%, transparent) right / 40px 100% no-repeat local,
  linear-gradient(to left, var(--rule), transparent) right / 14px 100% no-repeat scroll; }
.prose { white-space: normal; text-align: left; }
th, td { padding: 4px 8px; text-align: right; white-space: nowrap; border-bottom: 1px solid var(--faint); }
th:first-child, td:first-child { text-align: left; padding-left: 0; }
th:last-child, td:last-child { padding-right: 0; }
thead th { font-weight: 500; color: var(--muted); font-size: 11.5px; border-bottom-color: var(--rule); }
tbody th { font-weight: 400; }
tfoot th, tfoot td { font-weight: 600; border-bottom: 0; border-top: 1px solid var(--rule); }
tbody tr:last-child > * { border-bottom: 0; }
.even { table-layout: fixed; min-width: 560px; }
.months { border-collapse: separate; border-spacing: 2px; }
.months th, .months td, .months td:last-child { text-align: center; border: 0; padding: 3px 2px;
  border-radius: 2px; }
.months th:first-child { text-align: left; padding-left: 0; }
.months td:last-child { font-weight: 600; }
.columns { display: grid; grid-template-columns: repeat(3, minmax(0, 1fr)); gap: 8px 36px; }
.columns small, .facts-table small, .explained small { display: block; font-size: 11px; line-height: 1.3;
  color: var(--muted); white-space: normal; }
.columns tbody td { font-weight: 560; vertical-align: top; }
.figure { width: 100%; }
.empty { margin: 0; padding: 44px 12px; flex: 1; display: grid; place-items: center;
  text-align: center; color: var(--muted); background: var(--well);
  border-radius: 4px; }
.provenance th { width: 30%; padding-right: 12px; vertical-align: top; white-space: normal; }
.provenance td { text-align: left; white-space: normal; overflow-wrap: anywhere; }
.provenance td, pre { font-family: ui-monospace, "SF Mono", Menlo, Consolas, "Liberation Mono", monospace;
  font-size: 11.5px; }
pre { margin: 0; padding: 12px 14px; background: var(--well); border-radius: 4px; line-height: 1.5;
  white-space: pre-wrap; overflow-wrap: anywhere; }
.notes { margin: 0; padding-left: 18px; }
.caveats { background: var(--caveat); border: 1px solid var(--accent); border-radius: 6px;
  padding: 11px 18px 12px; margin-bottom: 16px; }
.caveats h2 { color: var(--accent); }
.caveats li { padding: 1px 0; }
.part { grid-column: 1 / -1; font-size: 12px; font-weight: 650; letter-spacing: 0.07em; margin: 14px 0 -6px;
  text-transform: uppercase; color: var(--muted); }
"""

STYLE = _packed(
    f"""
:root {{ color-scheme: light dark; {_variables(LIGHT)} }}
@media screen and (prefers-color-scheme: dark) {{ :root {{ {_variables(DARK)} }} }}
* {{ box-sizing: border-box; }}
body {{ margin: 0; background: var(--ground); color: var(--ink); font: 14px/1.5 {FONT};
  -webkit-font-smoothing: antialiased; }}
main {{ max-width: 1220px; margin: 0 auto; padding: 36px 24px 48px; }}
{_PIECES}
@media (max-width: 900px) {{
  main {{ padding: 20px 14px 32px; }}
  .grid {{ grid-template-columns: minmax(0, 1fr); }}
  .kpi b {{ font-size: 19px; }}
  .kpi {{ padding: 11px 12px; }}
  .columns {{ grid-template-columns: repeat(2, minmax(0, 1fr)); align-items: start; }}
  .columns > :nth-child(2) {{ grid-row: span 2; }}
}}
@media (max-width: 620px) {{
  .kpis {{ grid-template-columns: repeat(2, minmax(0, 1fr)); }}
  .kpi:last-child:nth-child(n) {{ grid-column: auto; }}
  .kpi:last-child:nth-child(odd) {{ grid-column: 1 / -1; }}
  .columns {{ grid-template-columns: minmax(0, 1fr); }}
  h1 small {{ display: block; margin: 2px 0 0; }}
  .scroll tr > :first-child {{ position: sticky; left: 0; background: var(--paper); padding-right: 10px; }}
  td > .prose {{ min-width: 210px; }}
  th > .prose {{ min-width: 110px; }}
}}
@page {{ size: A4; margin: 10mm; }}
@media print {{
  body {{ background: var(--paper); }}
  .card, .kpis {{ break-inside: avoid; }}
  * {{ print-color-adjust: exact; -webkit-print-color-adjust: exact; }}
}}
.printing main {{ width: 716px; padding: 0; }}
.printing .grid {{ grid-template-columns: repeat(2, minmax(0, 1fr)); gap: 10px; }}
.printing .card {{ padding: 10px 12px; }}
.printing .kpi b {{ font-size: 17px; }}
.printing .kpi {{ padding: 8px 10px; }}
.printing table {{ font-size: 10px; }}
.printing th, .printing td {{ padding-left: 4px; padding-right: 4px; }}
.printing .scroll {{ overflow: visible; }}
"""
)

# A notebook's page has its own style: ours ends at the piece. Its themes are told by classes and attributes.
FRAGMENT_STYLE = _packed(
    f"""
.lockstep {{ {_variables(LIGHT)} color: var(--ink); font: 14px/1.5 {FONT}; max-width: 1080px;
  padding: 2px 1px 8px; }}
@media (prefers-color-scheme: dark) {{ body:not([data-jp-theme-light]):not(.vscode-light) .lockstep
  {{ {_variables(DARK)} }} }}
[data-jp-theme-light="false"] .lockstep, .vscode-dark .lockstep {{ {_variables(DARK)} }}
.lockstep {{
* {{ box-sizing: border-box; }}
{_PIECES}
.grid {{ margin-bottom: 12px; }}
header {{ padding: 12px 0 14px; }}
h1 {{ font-size: 21px; }}
tr, tr:nth-child(n), tr:hover {{ background: none; }}
th, td {{ border-top: 0; border-left: 0; border-right: 0; }}
table {{ margin: 0; table-layout: auto; }}
.even {{ table-layout: fixed; }}
@media (max-width: 700px) {{ .grid {{ grid-template-columns: minmax(0, 1fr); }} }}
}}
"""
)

SCRIPT = """
"use strict";
const dark = window.matchMedia("(prefers-color-scheme: dark)");
const darkColours = DARK_COLOURS;
const figures = [...document.querySelectorAll(".figure")];
const config = {
  responsive: true, displayModeBar: false,
};

// Refits each vertical axis to what the time axis shows. Stamps are ISO texts, so they compare as texts.
function fit(element) {
  const x = element.layout.xaxis, changes = {}, span = {};
  const [from, to] = x.autorange || !x.range ? ["", "~"] : x.range;
  for (const trace of element.data) {
    const name = (trace.yaxis || "y").replace("y", "yaxis");
    const seen = span[name] = span[name] || [Infinity, -Infinity];
    trace.y.forEach((value, i) => {
      if (value === null || trace.x[i] < from || trace.x[i] > to) return;
      seen[0] = Math.min(seen[0], value);
      seen[1] = Math.max(seen[1], value);
    });
  }
  for (const [name, [low, high]] of Object.entries(span)) {
    const room = 0.06 * (high - low) || 1;
    if (low <= high) changes[name + ".range"] = [low - room, high + room];
  }
  return Plotly.relayout(element, changes);
}

// Figures are written in light colours; a dark page draws each in its counterpart.
function draw(element, isDark) {
  let text = document.getElementById(element.id + "-data").textContent;
  if (isDark) for (const [light, other] of Object.entries(darkColours)) text = text.replaceAll(light, other);
  const spec = JSON.parse(text);
  return Plotly.react(element, spec.data, spec.layout, config);
}

if (!window.Plotly) {
  for (const element of figures) {
    element.textContent = "This chart needs the plotting library, a file that belongs beside this page.";
    element.className = "empty";
  }
  figures.length = 0;
}
function mount(element) {
  draw(element, dark.matches);
  if (!element.hasAttribute("data-fit")) return;
  element.on("plotly_relayout", (change) => {
    if (Object.keys(change).some((key) => key.startsWith("xaxis"))) fit(element);
  });
}
figures.forEach(mount);
dark.addEventListener("change", () => figures.forEach((element) => draw(element, dark.matches)));

// Plotly's own resizing waits a tenth of a second, by when the page has been printed.
function setPrinting(on) {
  document.body.classList.toggle("printing", on);
  for (const element of figures) {
    if (dark.matches) draw(element, !on);
    Plotly.relayout(element, on ? { width: element.clientWidth } : { width: null, autosize: true });
  }
}
window.addEventListener("beforeprint", () => setPrinting(true));
window.addEventListener("afterprint", () => setPrinting(false));
""".replace("DARK_COLOURS", json.dumps(theme.DARK))
