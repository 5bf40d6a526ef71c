// The queue is localStorage, one key an event: tabs share it without overwriting each other. Keys sort by time and name
// their session, so that a page takes over at once what the previous page of this tab has left. Events of another tab
// are taken over when they look abandoned.

import { log, SECOND } from './environment.js';
import { session } from './session.js';
import { local } from './storage.js';

const QUEUE = 'analytics_queue:';
const QUEUE_LIMIT = 500; // events
const REQUEST_BYTES = 48 * 1024; // beacons and keepalive fetches share 64 KiB
const ABANDONED = 10 * SECOND;

const own = new Set(); // keys that this page has written
const inFlight = new Set(); // keys of the requests under way

const sizeOf = (text) => new TextEncoder().encode(text).length; // a Blob would wait for the browser process

const queuedKeys = () =>
  local
    .keys()
    .filter((key) => key.startsWith(QUEUE))
    .sort();

export const hasQueued = () => queuedKeys().length;

export const isSending = () => inFlight.size;

/** Writes the event to the queue. Returns false if it exceeds the size of a request. */
export const put = (event) => {
  const text = JSON.stringify(event);
  if (sizeOf(text) > REQUEST_BYTES) return log('too large, dropped', event);
  const key = [QUEUE + Date.now(), event.session_id, event.event_id.slice(0, 8)].join(':');
  own.add(key);
  local.set(key, text);
  return true;
};

/** Returns the oldest events that fit into one request, as [{key, text}], with `more` set if others are left. */
export const nextBatch = () => {
  const keys = queuedKeys();
  keys.splice(0, keys.length - QUEUE_LIMIT).forEach((key) => local.remove(key));
  const batch = [];
  let bytes = 100; // the envelope
  for (const key of keys) {
    const [, time, sessionId] = key.split(':');
    const ours = own.has(key) || sessionId === session.id;
    if (inFlight.has(key) || (!ours && Math.abs(Date.now() - time) < ABANDONED)) continue;
    const text = local.get(key);
    if (!text) continue; // another tab has just delivered it
    bytes += sizeOf(text) + 1;
    if (bytes > REQUEST_BYTES) {
      batch.more = true;
      break;
    }
    batch.push({ key, text });
  }
  return batch;
};

/** Marks the events as being sent; other requests leave them out. */
export const hold = (batch) => batch.forEach(({ key }) => inFlight.add(key));

export const release = (batch) => batch.forEach(({ key }) => inFlight.delete(key));

/** Removes events that the API has stored or refused for good. */
export const remove = (batch) =>
  batch.forEach(({ key }) => {
    local.remove(key);
    own.delete(key);
  });

export const forgetQueue = () => queuedKeys().forEach(local.remove);
