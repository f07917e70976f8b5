// Asks for the figures every two seconds and puts them where the server rendered the first ones.
"use strict";

const EVERY = 2000;
const PATIENCE = 5000;
let shown = "";

function put(id, text) {
  const place = document.getElementById(id);
  // What did not change is left alone, so that a screen reader does not say it again.
  if (place && place.textContent !== text) {
    place.textContent = text;
  }
}

function cell(text, label) {
  const cell = document.createElement("td");
  cell.textContent = text;
  if (label) {
    const code = document.createElement("code");
    code.textContent = label;
    cell.append(" ", code);
  }
  return cell;
}

function row(mount) {
  const row = document.createElement("tr");
  row.append(cell(mount.shown), cell(mount.became, mount.outcome), cell(mount.because, mount.reason));
  row.firstChild.className = "number";
  return row;
}

function show(status) {
  if (String(status.started) !== document.body.dataset.started) {
    // Another process, perhaps with another version and configuration.
    location.reload();
    return;
  }
  document.body.dataset.ready = status.ready ? "yes" : "no";
  for (const [id, text] of Object.entries(status.texts)) {
    put(id, text);
  }
  const mounts = JSON.stringify(status.mounts);
  if (mounts !== shown) {
    shown = mounts;
    document.getElementById("mounts").replaceChildren(...status.mounts.map(row));
  }
}

async function follow() {
  // Nobody looks at a hidden page.
  if (!document.hidden) {
    try {
      const wait = AbortSignal.timeout(PATIENCE);
      const answer = await fetch("status.json", { cache: "no-store", signal: wait });
      show(await answer.json());
    } catch {
      document.body.dataset.ready = "no";
      put("health", "No answer from crossmount: the figures below are old");
    }
  }
  setTimeout(follow, EVERY);
}

setTimeout(follow, EVERY);
