// The queue is localStorage, one key an event: tabs share it without overwriting each other. A page sends what it finds,
// also what other pages and tabs have left; the API stores an event once. A key has what is needed to choose events, so
// that only the text of events that are sent is read:
//   analytics_queue:<time in ms>:<session ID>:<start of the event ID>:<bytes>:<site key>

import { log, siteKey } from './environment.js';
import { local } from './storage.js';

const QUEUE = 'analytics_queue:';
const QUEUE_BYTES = 200 * 1024; // of about 5 MB, which the site's own scripts need too
const REQUEST_BYTES = 48 * 1024; // keepalive fetches share 64 KiB

const inFlight = new Set(); // keys of the requests under way

/** Returns the keys of this site, oldest first. */
const queuedKeys = () =>
  local
    .keys()
    .filter((key) => key.startsWith(QUEUE) && (key.endsWith(':' + siteKey) || !bytesOf(key)))
    .sort();

/** Returns the bytes of the event, or NaN for a key of an earlier version, without site key. */
const bytesOf = (key) => +key.split(':')[4];

/** Writes the event to the queue; the oldest events give way. Returns false if it exceeds the size of a request. */
export const put = (event) => {
  const text = JSON.stringify(event);
  let total = new TextEncoder().encode(text).length; // a Blob would wait for the browser process
  if (total > REQUEST_BYTES) return log('dropped', event);
  const key = [QUEUE + Date.now(), event.session_id, event.event_id.slice(0, 8), total, siteKey].join(':');
  for (const key of queuedKeys().reverse()) {
    total += bytesOf(key) || 1000;
    if (total > QUEUE_BYTES) local.remove(key);
  }
  local.set(key, text);
  return true;
};

/** Returns the keys of the oldest events that fit into one request, with `more` set if others are left. */
export const nextBatch = () => {
  const batch = [];
  let total = 0; // bytes of this request and of those under way
  for (const key of queuedKeys()) {
    total += bytesOf(key) || 1000;
    if (inFlight.has(key) || total > REQUEST_BYTES) batch.more = true;
    else batch.push(key);
  }
  return batch;
};

/** Marks the events as being sent; other requests leave them out. */
export const hold = (batch) => batch.forEach((key) => inFlight.add(key));

export const release = (batch) => batch.forEach((key) => inFlight.delete(key));

/** Removes events that the API has stored or refused for good. */
export const remove = (batch) => batch.forEach(local.remove);

export const forgetQueue = () => remove(queuedKeys());

/** Returns the events as JSON. Those that another tab has just delivered are left out. */
export const textOf = (batch) =>
  batch
    .map((key) => local.get(key))
    .filter(Boolean)
    .join();
