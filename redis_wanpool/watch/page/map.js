// The map: one cell a port, its hue by network, its form and shade by state.
import { number, say, span } from "./words.js";

const STATE = { f: "free", l: "leased", c: "cooling", q: "quarantined", w: "withheld" };
const SIZES = [16, 14, 12, 10, 8, 7, 6, 5, 4, 3, 2];
const canvas = document.getElementById("map");
const told = document.getElementById("map-cell");
const key = document.getElementById("map-key");
const dark = matchMedia("(prefers-color-scheme: dark)");

let wan = null;      // its number
let data = null;     // what /map/N answered
let ports = [];      // the port of each cell
let whose = [];      // the network of each cell, -1 for none
let size = 10, columns = 1, at = -1;
let drawn = "";
let asked = 0;

const hue = (network) => (215 + network * 137.508) % 360;

function colours() {
  const style = getComputedStyle(document.documentElement);
  const of = (name) => style.getPropertyValue(`--${name}`).trim();
  return { free: of("free"), withheld: of("withheld"), quarantined: of("quarantined"), card: of("card"), ink: of("ink") };
}

function shade(letter, network, base) {
  if (letter === "f") return base.free;
  if (letter === "w") return base.withheld;
  if (letter === "q") return base.quarantined;
  const tint = network < 0 ? "220 8%" : `${hue(network)} ${letter === "l" ? 62 : 45}%`;
  if (letter === "l") return `hsl(${tint} ${dark.matches ? 66 : 44}%)`;
  return `hsl(${tint} ${dark.matches ? 40 : 70}%)`;
}

export function show(chosen) {
  if (chosen === wan) return;
  wan = chosen;
  data = null;
  at = -1;
  drawn = "";
  told.textContent = "";
  load();
}

export async function load() {
  if (wan === null || document.hidden) return;
  const mine = ++asked;
  try {
    const answer = await fetch(`map/${wan}`);
    if (!answer.ok || mine !== asked) return;
    data = await answer.json();
  } catch { return; }
  const stamp = data.states + JSON.stringify([data.whose, data.ranges, data.networks]);
  if (stamp === drawn) return;
  drawn = stamp;
  ports = [];
  for (const [first, last] of data.ranges) for (let port = first; port <= last; port++) ports.push(port);
  whose = new Int32Array(ports.length);
  let cell = 0;
  for (const [network, count] of data.whose) { whose.fill(network, cell, cell + count); cell += count; }
  draw();
}

function fit() {
  const width = canvas.parentElement.clientWidth - 28, most = innerWidth < 640 ? 420 : 360;
  size = SIZES.find((one) => Math.ceil(ports.length / Math.floor(width / one)) * one <= most) ?? 2;
  columns = Math.max(1, Math.floor(width / size));
  const rows = Math.max(1, Math.ceil(ports.length / columns)), ratio = devicePixelRatio || 1;
  canvas.width = columns * size * ratio;
  canvas.height = rows * size * ratio;
  canvas.style.width = `${columns * size}px`;
  canvas.style.height = `${rows * size}px`;
  return ratio;
}

export function draw() {
  if (!data) return;
  const ratio = fit(), pen = canvas.getContext("2d"), base = colours();
  pen.scale(ratio, ratio);
  const gap = size >= 5 ? 1 : 0, side = size - gap, cells = new Map();
  for (let cell = 0; cell < ports.length; cell++) {
    const letter = data.states[cell];
    const name = letter + (letter === "l" || letter === "c" ? whose[cell] : "");
    if (!cells.has(name)) cells.set(name, []);
    cells.get(name).push(cell);
  }
  for (const [name, some] of cells) {
    const letter = name[0];
    pen.fillStyle = shade(letter, Number(name.slice(1) || -1), base);
    for (const cell of some) {
      const x = (cell % columns) * size, y = Math.floor(cell / columns) * size;
      if (letter === "c" && size >= 6) pen.fillRect(x, y + Math.floor(side / 2), side, Math.ceil(side / 2));
      else pen.fillRect(x, y, side, side);
    }
    if ((letter === "q" || letter === "w") && size >= 6) {
      pen.strokeStyle = base.card;
      pen.lineWidth = 1.5;
      pen.beginPath();
      for (const cell of some) {
        const x = (cell % columns) * size, y = Math.floor(cell / columns) * size;
        pen.moveTo(x + 1, y + side - 1);
        pen.lineTo(x + side - 1, y + 1);
        if (letter === "q") { pen.moveTo(x + 1, y + 1); pen.lineTo(x + side - 1, y + side - 1); }
      }
      pen.stroke();
    }
  }
  if (at >= 0 && at < ports.length) {
    pen.strokeStyle = base.ink;
    pen.lineWidth = 2;
    pen.strokeRect((at % columns) * size - 0.5, Math.floor(at / columns) * size - 0.5, size, size);
  }
  label();
  legend(base);
}

function label() {
  const counts = Object.fromEntries(Object.values(STATE).map((state) => [state, 0]));
  for (const letter of data.states) counts[STATE[letter]]++;
  canvas.setAttribute("aria-label", say("mapLabel", { wan, ...counts }));
}

function legend(base) {
  const rows = [...data.networks.slice(0, 12).map((name, index) => [shade("l", index, base), name])];
  if (data.networks.length > 12) rows.push(["transparent", "…"]);
  key.replaceChildren(...rows.map(([colour, name]) => {
    const row = document.createElement("li"), dot = document.createElement("span");
    dot.className = "swatch";
    dot.style.background = colour;
    row.append(dot, name);
    return row;
  }));
}

// what a cell is: at once by what the map knows, then by what Redis says
let pending = 0;
function tell(cell, soon = false) {
  if (!data || cell < 0 || cell >= ports.length) return;
  const moved = cell !== at;
  at = cell;
  draw();
  const port = ports[cell], state = STATE[data.states[cell]];
  const network = whose[cell] >= 0 ? `, ${data.networks[whose[cell]]}` : "";
  if (moved) put(port, `${say(state)}${network}`);
  clearTimeout(pending);
  pending = setTimeout(() => explain(port, state), soon ? 0 : 150);
}

function put(port, text) {
  const strong = document.createElement("b");
  strong.textContent = port;
  told.replaceChildren(strong, `: ${text}`);
}

async function explain(port, state) {
  let seen;
  try {
    const answer = await fetch(`port/${port}`);
    seen = await answer.json();
    if (!answer.ok) return put(port, seen.error);
  } catch { return; }
  if (ports[at] !== port) return;
  const who = seen.holder ? `${seen.program ? `${seen.program} ` : ""}${process(seen.host, seen.pid)}` : "";
  const ended = say(`ended_${seen.ended}`).replace(/^ended_/, "");
  const parts = [say(seen.lives ? "leased" : state === "leased" ? "cooling" : state)];
  if (!who) parts.push(say("never"));
  else parts.push(say(seen.lives ? "heldBy" : "hadBy", { who, network: seen.network, ended }));
  if (seen.label) parts.push(say("labelled", { label: seen.label }));
  if (seen.left !== null) parts.push(say(seen.lives ? "endsIn" : "freeIn", { span: span(seen.left) }));
  if (seen.becomes) parts.push(say("becomes", { state: seen.becomes === "withheld" ? say("withheld") : seen.becomes }));
  if (seen.quarantine) parts.push(seen.quarantine);
  put(port, parts.join(" · "));
}

export const process = (host, pid) => (pid ? `${host}:${pid}` : host ? say("detached", { host }) : "");

function cellAt(event) {
  const box = canvas.getBoundingClientRect();
  const x = Math.floor((event.clientX - box.left) / size), y = Math.floor((event.clientY - box.top) / size);
  return x >= 0 && x < columns && y >= 0 ? y * columns + x : -1;
}
canvas.addEventListener("pointermove", (event) => { const cell = cellAt(event); if (cell !== at) tell(cell); });
canvas.addEventListener("pointerdown", (event) => tell(cellAt(event), true));
canvas.addEventListener("keydown", (event) => {
  const steps = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -columns, ArrowDown: columns, Home: -at, End: ports.length - 1 - at };
  if (event.key === "Enter") tell(Math.max(0, at), true);
  else if (event.key in steps) tell(Math.min(ports.length - 1, Math.max(0, at < 0 ? 0 : at + steps[event.key])));
  else return;
  event.preventDefault();
});
document.getElementById("map-port").addEventListener("change", (event) => {
  const port = Number(event.target.value), cell = ports.indexOf(port);
  if (cell >= 0) tell(cell, true);
  else put(number(port), "–");
});
new ResizeObserver(() => draw()).observe(canvas.parentElement);
dark.addEventListener("change", () => draw());
