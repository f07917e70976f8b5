// Numbers and times as the page shows them.

// What a histogram of latencies cannot tell apart: its last bound, in seconds.
const LONGEST = 600;

// Bytes in a decimal unit, as registries and clients show them.
export function bytes(value) {
  if (value < 1000) {
    return value === 1 ? "1 byte" : `${value} bytes`;
  }
  let unit = -1;
  // What would be rounded to a thousand gets the next unit.
  while (value >= 999.5 && unit < 4) {
    value /= 1000;
    unit += 1;
  }
  return `${value >= 99.95 ? Math.round(value) : value.toFixed(1)} ${["kB", "MB", "GB", "TB", "PB"][unit]}`;
}

// A whole number with its thousands separated.
export function whole(value) {
  return value.toLocaleString("en-US");
}

// "1 mount", "2 mounts".
export function plural(count, word) {
  return `${whole(count)} ${word}${count === 1 ? "" : "s"}`;
}

// An estimated latency in seconds, or null.
export function latency(seconds) {
  if (seconds === null) {
    return "–";
  }
  if (seconds >= LONGEST) {
    return "over 10 min";
  }
  if (seconds >= 1) {
    return `${seconds.toFixed(1)} s`;
  }
  const ms = seconds * 1000;
  return `${ms.toFixed(ms < 1 ? 2 : ms < 10 ? 1 : 0)} ms`;
}

// A time span in its two largest units.
export function span(seconds) {
  const whole = Math.floor(seconds);
  const [minutes, hours, days] = [60, 3600, 86400].map(unit => Math.floor(whole / unit));
  if (days > 0) {
    return `${days} d ${hours % 24} h`;
  }
  if (hours > 0) {
    return `${hours} h ${minutes % 60} min`;
  }
  return minutes > 0 ? `${minutes} min ${whole % 60} s` : `${whole} s`;
}

// A time span in its largest unit, seconds or minutes.
export function about(seconds) {
  return seconds < 60 ? `${Math.round(seconds)} s` : `${Math.round(seconds / 60)} min`;
}

// Events per second.
export function rate(perSecond) {
  if (perSecond === 0) {
    return "0";
  }
  if (perSecond < 0.01) {
    return "< 0.01";
  }
  return perSecond < 100 ? perSecond.toFixed(perSecond < 10 ? 2 : 1) : whole(Math.round(perSecond));
}

// A share, or null. It is rounded down: 100% is all.
export function percent(share) {
  return share === null ? "–" : `${Math.floor(share * 1000 + 1e-6) / 10}%`;
}

// "2026-01-31 23:59:59 UTC" for an RFC 3339 time in UTC.
export function time(rfc3339) {
  return rfc3339.replace("T", " ").replace("Z", " UTC");
}

// "23:55" in UTC for milliseconds since 1970.
export function clock(ms) {
  return new Date(ms).toISOString().slice(11, 16);
}
