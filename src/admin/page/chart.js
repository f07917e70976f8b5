// Draws the bytes saved and uploaded in the last 24 hours.
import { bytes, clock } from "./format.js";

const DAY = 24 * 3600 * 1000;
const HOUR = 3600 * 1000;
const HEIGHT = 250;
const MARGIN = { top: 28, right: 12, bottom: 44, left: 62 };
// Below this width there is room for fewer labels.
const NARROW = 520;
const HINT = "Point at the chart, or use the arrow keys, to read a value.";

function svg(name, attributes, text) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) {
    element.setAttribute(key, value);
  }
  if (text !== undefined) {
    element.textContent = text;
  }
  return element;
}

// The distance of the y axis' labels: 1, 2 or 5 times a power of ten.
function step(highest) {
  const least = highest / 4;
  const power = 10 ** Math.floor(Math.log10(least));
  return [1, 2, 5, 10].map(times => times * power).find(size => size >= least);
}

export function chart(place, readout) {
  let status = null;
  // The beginning of the bucket that is read, in milliseconds since 1970.
  let read = null;
  let plot = null;

  function layout() {
    const length = status.history.bucket_seconds * 1000;
    const end = (Math.floor(Date.parse(status.time) / length) + 1) * length;
    const buckets = status.history.buckets
      .map(bucket => ({ ...bucket, at: Date.parse(bucket.start) }))
      .filter(bucket => bucket.at >= end - DAY && bucket.at < end);
    const highest = Math.max(0, ...buckets.flatMap(bucket => [bucket.saved_bytes, bucket.uploaded_bytes]));
    const every = highest > 0 ? step(highest) : 1;
    const top = highest > 0 ? Math.ceil(highest / every) * every : 1;
    const width = Math.max(place.clientWidth, 200);
    const [inside, base] = [width - MARGIN.left - MARGIN.right, HEIGHT - MARGIN.bottom];
    return {
      length, end, buckets, highest, every, top, width, base,
      start: end - DAY,
      x: at => MARGIN.left + (at - (end - DAY)) / DAY * inside,
      y: value => base - value / top * (base - MARGIN.top),
      timeOf: x => end - DAY + (x - MARGIN.left) / inside * DAY,
    };
  }

  // A line of steps, with a gap where buckets are missing; closed at the bottom if it is an area.
  function steps(key, isArea) {
    const { buckets, length, x, y, base } = plot;
    return buckets.map((bucket, index) => {
      const before = buckets[index - 1]?.at === bucket.at - length;
      const after = buckets[index + 1]?.at === bucket.at + length;
      const [left, right] = [x(bucket.at).toFixed(2), x(bucket.at + length).toFixed(2)];
      const value = y(bucket[key]).toFixed(2);
      const begin = before ? `V${value}` : isArea ? `M${left} ${base}V${value}` : `M${left} ${value}`;
      return `${begin}H${right}${isArea && !after ? `V${base}Z` : ""}`;
    }).join("");
  }

  function axes() {
    const { x, y, base, width, start, end, every, top, highest } = plot;
    const parts = [];
    for (let value = 0; highest > 0 && value <= top + every / 2; value += every) {
      const at = y(value).toFixed(2);
      parts.push(svg("line", { class: "grid", x1: MARGIN.left, x2: width - MARGIN.right, y1: at, y2: at }));
      const label = value === 0 ? "0" : bytes(value);
      parts.push(svg("text", { class: "y-label", x: MARGIN.left - 8, y: at, dy: "0.32em" }, label));
    }
    parts.push(svg("line", { class: "axis", x1: MARGIN.left, x2: width - MARGIN.right, y1: base, y2: base }));
    const hours = (width < NARROW ? 6 : 3) * HOUR;
    for (let at = Math.ceil(start / hours) * hours; at <= end; at += hours) {
      const left = x(at).toFixed(2);
      parts.push(svg("line", { class: "axis", x1: left, x2: left, y1: base, y2: base + 5 }));
      // A label at the very edge would be cut off.
      if (x(at) < width - 20) {
        parts.push(svg("text", { class: "x-label", x: left, y: base + 18 }, clock(at)));
      }
    }
    const minutes = plot.length / 60000;
    parts.push(svg("text", { class: "axis-name", x: 0, y: 12 }, `Bytes per ${minutes} min`));
    const middle = (MARGIN.left + width - MARGIN.right) / 2;
    parts.push(svg("text", { class: "axis-name centered", x: middle, y: HEIGHT - 6 }, "Time (UTC)"));
    return parts;
  }

  function draw() {
    if (!status) {
      return;
    }
    plot = layout();
    const sum = key => bytes(plot.buckets.reduce((sum, bucket) => sum + bucket[key], 0));
    const described = `${sum("saved_bytes")} saved and ${sum("uploaded_bytes")} uploaded in the last 24 hours.`;
    const image = svg("svg", {
      role: "img", width: plot.width, height: HEIGHT,
      viewBox: `0 0 ${plot.width} ${HEIGHT}`, "aria-labelledby": "chart-name chart-description",
    });
    image.append(
      svg("title", { id: "chart-name" }, "Bytes saved and uploaded"),
      svg("desc", { id: "chart-description" }, `${described} The values are in the table below.`),
      ...axes(),
    );
    if (plot.highest === 0) {
      const middle = { x: plot.width / 2, y: HEIGHT / 2 };
      image.append(svg("text", { class: "empty", ...middle }, "No data yet"));
    } else {
      image.append(
        svg("path", { class: "saved", d: steps("saved_bytes", true) }),
        // Keeps the line apart from the area behind it.
        svg("path", { class: "halo", d: steps("uploaded_bytes", false) }),
        svg("path", { class: "uploaded", d: steps("uploaded_bytes", false) }),
        svg("rect", { class: "cursor", y: MARGIN.top, height: plot.base - MARGIN.top }),
      );
    }
    place.replaceChildren(image);
    document.getElementById("chart-saved").textContent = sum("saved_bytes");
    document.getElementById("chart-uploaded").textContent = sum("uploaded_bytes");
    show();
  }

  // Shows the bucket that is read.
  function show() {
    const cursor = place.querySelector(".cursor");
    const bucket = plot?.buckets.find(bucket => bucket.at === read);
    let text = plot?.highest > 0 ? HINT : "";
    cursor?.setAttribute("width", 0);
    if (cursor && bucket) {
      const left = plot.x(bucket.at);
      cursor.setAttribute("x", left);
      cursor.setAttribute("width", Math.max(plot.x(bucket.at + plot.length) - left, 1));
      text = `${clock(bucket.at)}–${clock(bucket.at + plot.length)} UTC: `
        + `${bytes(bucket.saved_bytes)} saved, ${bytes(bucket.uploaded_bytes)} uploaded`;
    }
    if (readout.textContent !== text) {
      readout.textContent = text;
    }
  }

  function point(event) {
    if (plot) {
      const at = plot.timeOf(event.clientX - place.getBoundingClientRect().left);
      read = Math.floor(at / plot.length) * plot.length;
      show();
    }
  }

  function leave() {
    read = null;
    show();
  }

  function press(event) {
    const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (by && plot?.buckets.length) {
      const at = plot.buckets.findIndex(bucket => bucket.at === read);
      const last = plot.buckets.length - 1;
      read = plot.buckets[at < 0 ? last : Math.min(Math.max(at + by, 0), last)].at;
      event.preventDefault();
      show();
    }
  }

  place.addEventListener("pointermove", point);
  place.addEventListener("pointerdown", point);
  place.addEventListener("pointerleave", leave);
  place.addEventListener("blur", leave);
  place.addEventListener("keydown", press);
  new ResizeObserver(draw).observe(place);
  return next => {
    status = next;
    draw();
  };
}
