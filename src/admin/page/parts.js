// The rows of the health table: each part's name, state and details.
import * as format from "./format.js";

// A certificate that expires within this many seconds is due for renewal, as in the alert.
const SOON = 14 * 86400;
const PLACES = { listener: "Listener certificate", upstream_client: "Client certificate" };

function part(name, kind, state, detail) {
  return [{ text: name, head: true }, { text: state, kind: `state ${kind}` }, { text: detail, kind: "detail" }];
}

function storePart(store) {
  if (!store) {
    return part("Store", "off", "Not used", "The registry mounts; crossmount writes no links.");
  }
  if (!store.healthy) {
    return part("Store", "bad", "Unhealthy", store.reason);
  }
  return store.verified
    ? part("Store", "good", "Healthy", "Verified: crossmount saw the registry's own link in it.")
    : part("Store", "warn", "Not verified", "crossmount writes no links until it sees one that the registry has just written.");
}

function certificatePart({ place, expires }, now) {
  const left = (Date.parse(expires) - Date.parse(now)) / 1000;
  const name = PLACES[place] ?? `Certificate: ${place}`;
  if (left <= 0) {
    return part(name, "bad", "Expired", `Expired on ${expires.slice(0, 10)}.`);
  }
  const detail = `Expires on ${expires.slice(0, 10)}, in ${format.span(left)}.`;
  return left < SOON ? part(name, "warn", "Expires soon", detail) : part(name, "good", "Healthy", detail);
}

function webhookPart({ endpoint, queue_length, sent, failed, dropped }) {
  const detail = `Since start: ${format.whole(sent)} sent, ${format.plural(failed, "failed attempt")}, ${format.whole(dropped)} dropped.`;
  return part(`Webhook: ${endpoint}`, "off", `Queue: ${format.whole(queue_length)}`, detail);
}

function tokenCachePart({ hits, misses }) {
  const rate = hits + misses > 0 ? hits / (hits + misses) : null;
  const detail = `${format.whole(hits)} of ${format.plural(hits + misses, "token request")} since start.`;
  return part("Token cache", "off", `Hits: ${format.percent(rate)}`, detail);
}

function heldPart({ now, linked, timed_out, released, abandoned }) {
  const ends = [[linked, "ended with the layer"], [timed_out, "timed out"], [released, "went on"], [abandoned, "disconnected"]];
  const detail = `Since start: ${ends.map(([count, what]) => `${format.whole(count)} ${what}`).join(", ")}.`;
  return part("HEADs that wait for an upload", "off", `Held: ${format.whole(now)}`, detail);
}

export function parts({ health, time }) {
  const { registry, store, certificates, webhooks, token_cache, held_requests } = health;
  const none = part("Certificates", "off", "None", "TLS with a certificate is not configured.");
  return [
    registry.healthy
      ? part("Registry", "good", "Healthy", "It responds.")
      : part("Registry", "bad", "Unhealthy", registry.reason),
    storePart(store),
    ...(certificates.length ? certificates.map(one => certificatePart(one, time)) : [none]),
    ...webhooks.map(webhookPart),
    ...(token_cache ? [tokenCachePart(token_cache)] : []),
    ...(held_requests ? [heldPart(held_requests)] : []),
  ];
}
