// Reads the status every few seconds and puts it into the page. Every value is set as text.
import { chart } from "./chart.js";
import * as format from "./format.js";
import { parts } from "./parts.js";

const EVERY = 3000;
const PATIENCE = 5000;

const byId = id => document.getElementById(id);
const draw = chart(byId("chart"), byId("readout"));
const drawn = new Map();
let version = null;
let time = null;

function put(id, text) {
  const place = byId(id);
  // An unchanged text is left alone, so that a screen reader does not repeat it.
  if (place.textContent !== text) {
    place.textContent = text;
  }
}

// Replaces the rows of a table if they have changed. A cell is a text, or a node.
function rows(id, rows) {
  const made = JSON.stringify(rows);
  if (drawn.get(id) === made) {
    return;
  }
  drawn.set(id, made);
  byId(id).replaceChildren(...rows.map(cells => {
    const row = document.createElement("tr");
    row.append(...cells.map(cell));
    return row;
  }));
}

// A cell: `head` makes it the row's heading, `code` is a name from the metrics.
function cell({ text, kind, head, code }) {
  const cell = document.createElement(head ? "th" : "td");
  if (head) {
    cell.scope = "row";
  }
  if (code) {
    const name = document.createElement("code");
    name.textContent = code;
    cell.append(name, " ");
  }
  cell.append(text);
  cell.className = kind ?? "";
  return cell;
}

const number = text => ({ text, kind: "number" });

function latencyRow(name, { p50, p95, p99, count }) {
  const quantiles = [p50, p95, p99].map(seconds => number(format.latency(seconds)));
  return [{ text: name, head: true }, ...quantiles, number(format.whole(count))];
}

function mountRow(mount) {
  return [
    { text: mount.outcome_meaning, code: mount.outcome },
    { text: mount.reason_meaning, code: mount.reason },
    number(format.whole(mount.count)),
  ];
}

function valueRow({ start, saved_bytes, uploaded_bytes }) {
  const beginning = { text: start.slice(0, 16).replace("T", " "), head: true };
  return [beginning, number(format.bytes(saved_bytes)), number(format.bytes(uploaded_bytes))];
}

function show(status) {
  const { saved_bytes, rates, mounts, latency_seconds, history } = status;
  document.body.dataset.ready = status.ready ? "yes" : "no";
  put("ready", status.ready ? "Ready" : `Not ready: ${status.reason}`);
  put("process", `Version ${status.version}, up ${format.span(status.uptime_seconds)}`);
  byId("process").title = `Started at ${format.time(status.started)}`;
  byId("dry-run").hidden = !status.dry_run;
  draw(status);
  const filled = history.buckets.filter(bucket => bucket.saved_bytes + bucket.uploaded_bytes > 0);
  rows("chart-values", filled.reverse().map(valueRow));
  put("saved-today", format.bytes(saved_bytes.today));
  put("saved-today-note", "Since 00:00 UTC");
  put("saved-total", format.bytes(saved_bytes.since_start));
  put("saved-total-note", `${format.whole(saved_bytes.since_start)} bytes`);
  put("hit-rate", format.percent(status.hit_rate));
  const count = mounts.reduce((sum, mount) => sum + mount.count, 0);
  put("hit-rate-note", count ? `Of ${format.plural(count, "mount")}, no upload needed` : "No mounts yet");
  put("requests-rate", format.rate(rates.requests_per_second));
  put("mounts-rate", format.rate(rates.mounts_per_second));
  const window = `Over the last ${format.about(rates.window_seconds)}`;
  put("requests-rate-note", window);
  put("mounts-rate-note", window);
  const { mounts: decisions, requests } = latency_seconds;
  rows("latency", [latencyRow("Mounts", decisions), latencyRow("All requests", requests)]);
  rows("parts", parts(status));
  rows("mounts", [...mounts].sort((one, other) => other.count - one.count).map(mountRow));
  byId("no-mounts").hidden = mounts.length > 0;
  put("settings", status.settings);
  put("time", format.time(status.time));
  time = status.time;
}

async function read() {
  try {
    const answer = await fetch("status.json", { cache: "no-store", signal: AbortSignal.timeout(PATIENCE) });
    return answer.ok ? await answer.json() : null;
  } catch {
    return null;
  }
}

async function follow() {
  // A hidden page needs no figures.
  const status = document.hidden ? undefined : await read();
  setTimeout(follow, EVERY);
  if (status === null) {
    document.body.dataset.ready = "no";
    put("ready", `crossmount does not respond. ${time ? `These figures are of ${format.time(time)}.` : ""}`);
  } else if (status) {
    version ??= status.version;
    if (status.version === version) {
      show(status);
    } else {
      // Another version may have another page.
      location.reload();
    }
  }
}

document.addEventListener("visibilitychange", () => document.hidden || read().then(status => status && show(status)));
follow();
