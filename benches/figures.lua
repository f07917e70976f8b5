-- What every load measured, as a line of JSON; the other scripts take it in.

function done(summary, latency)
  local errors = summary.errors
  io.write(string.format(
    '\n{"answers": %d, "microseconds": %d, "refused": %d, "broken": %d, "p50": %d, "p99": %d}\n',
    summary.requests, summary.duration, errors.status,
    errors.connect + errors.read + errors.write + errors.timeout,
    latency:percentile(50), latency:percentile(99)))
end
