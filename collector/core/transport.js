// Sends the queue to the API: in batches, with retries that back off, also while the page is being left.

import { CONSENTED, COOKIELESS, granted } from './consent.js';
import { endpoint, later, log, MINUTE, navigator, options, SECOND, safely } from './environment.js';
import { forgetUser, serverCookie } from './identity.js';
import { forgetQueue, hasQueued, hold, isSending, nextBatch, put, release, remove } from './queue.js';
import { local } from './storage.js';

const RETRY_AT = 'analytics_retry_at'; // time in ms before which the API has asked for no request
const BATCH_EVENTS = 10;
const BATCH_DELAY = 5 * SECOND;
const TIMEOUT = 15 * SECOND;
const LONGEST_PAUSE = 60 * MINUTE; // of a Retry-After
const DOUBLINGS = 8; // of the wait between two attempts, which starts at one second
const CRITICAL = /^(form_submit|purchase|signup|identify|outbound_click|file_download)$/;

const url =
  endpoint +
  (options.path || '/api/events') +
  `?key=${encodeURIComponent(options.siteKey)}${serverCookie ? '&cookie=1' : ''}`;
const survivesPage = 'keepalive' in Request.prototype;

let unsent = 0; // events recorded since the last flush
let failures = 0;
let timer;

/** Writes the event to the queue and decides when to send. */
export const enqueue = (event) => {
  if (!put(event)) return;
  unsent++;
  if (CRITICAL.test(event.event_type) || document.visibilityState === 'hidden') flush(true);
  else if (unsent >= BATCH_EVENTS && !failures) flush();
  else schedule();
};

/**
 * Sends what is queued: one request at a time, and none while a failure is waited out. `now` (a critical event, a page
 * that hides) waits for neither, only for a Retry-After.
 */
export const flush = (now) => {
  if (!granted) return;
  clearTimeout(timer);
  timer = 0;
  const wait = local.get(RETRY_AT) - Date.now();
  if (wait > 0 && wait <= LONGEST_PAUSE) return retryIn(wait);
  if (now !== true && isSending()) return;
  unsent = 0;
  const batch = nextBatch();
  if (batch.length) send(batch);
  else schedule();
};

/** Sends in a while, if anything is queued. */
const schedule = () => {
  if (!timer && hasQueued()) timer = later(flush, BATCH_DELAY);
};

const retryIn = (milliseconds) => {
  clearTimeout(timer);
  timer = later(flush, milliseconds * (1 + Math.random() / 2));
};

/**
 * A string body is text/plain and needs no preflight. A keepalive fetch outlives the page, as a beacon does, and
 * unlike a beacon it reports the answer.
 */
const send = (batch) => {
  const body = `{"sent_at":"${new Date().toISOString()}","events":[${batch.map(({ text }) => text).join()}]}`;
  const mode = granted === COOKIELESS ? '&cookieless=1' : '';
  if (!survivesPage && document.visibilityState === 'hidden') return navigator.sendBeacon(url + mode, body);
  const abort = new AbortController();
  const timeout = later(() => abort.abort(), TIMEOUT);
  hold(batch);
  const settled = (handle) =>
    safely((answer) => {
      clearTimeout(timeout);
      release(batch);
      if (granted < CONSENTED) forgetUser(); // the answer to a request before a withdrawal may set the cookie
      if (granted) handle(answer);
    });
  const credentials = serverCookie && !mode ? 'include' : 'omit';
  fetch(url + mode, { method: 'POST', body, keepalive: true, credentials, signal: abort.signal })
    .then(readToEnd)
    .then(
      settled((response) => answered(batch, response)),
      settled(() => failed()),
    );
};

/** Reads the body: a request counts against the 64 KiB of keepalive until its last byte has arrived. */
const readToEnd = async (response) => {
  log(response.status, await response.text());
  return response;
};

const answered = (batch, response) => {
  const isRefused = [400, 413, 422].includes(response.status);
  if (!response.ok && !isRefused) return failed(response);
  if (isRefused && batch.length > 1) {
    // The batch is too large or one event spoils it: send halves until that event is alone.
    const middle = batch.length >> 1;
    send(batch.slice(0, middle));
    return send(batch.slice(middle));
  }
  if (isRefused) log('refused, dropped', response.status, batch[0].text);
  failures = 0;
  remove(batch);
  if (batch.more || unsent >= BATCH_EVENTS) flush();
  else schedule();
};

/** Tries again after 1, 2, 4 … seconds, with jitter, but not before a Retry-After. */
const failed = (response) => {
  const asked = response && response.headers.get('Retry-After');
  const pause = asked * SECOND || Date.parse(asked) - Date.now();
  if (pause > 0) local.set(RETRY_AT, Date.now() + Math.min(pause, LONGEST_PAUSE));
  retryIn(2 ** Math.min(failures++, DOUBLINGS) * SECOND);
};

/** Stops sending and empties the queue. */
export const forgetUnsent = () => {
  clearTimeout(timer);
  timer = unsent = 0;
  forgetQueue();
  local.remove(RETRY_AT);
};
