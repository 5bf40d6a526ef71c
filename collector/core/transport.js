// Sends the queue to the API: in batches, with retries that back off, also while the page is being left.

import { CONSENTED, COOKIELESS, granted } from './consent.js';
import { attempt, endpoint, later, log, MINUTE, options, SECOND, siteKey } from './environment.js';
import { forgetUser, serverCookie } from './identity.js';
import { forgetQueue, hold, nextBatch, put, release, remove, textOf } from './queue.js';
import { local } from './storage.js';

const RETRY_AT = 'analytics_retry_at:' + siteKey; // time in ms before which no page and no tab may send
const BATCH_EVENTS = 10;
const BATCH_DELAY = 5 * SECOND;
const TIMEOUT = 15 * SECOND;
const LONGEST_PAUSE = 60 * MINUTE;
const URGENT = /^(page_view|form_submit|purchase|signup|identify)$/;

const url = endpoint + (options.path || '/api/events') + `?key=${siteKey}${serverCookie ? '&cookie=1' : ''}`;

let unsent = 0; // events recorded since the last flush
let failures = 0;
let timer;

/** Writes the event to the queue and decides when to send. Urgent events take along what is recorded with them. */
export const enqueue = (event) => {
  if (!put(event)) return;
  unsent++;
  const isUrgent = URGENT.test(event.event_type) || document.hidden || unsent >= BATCH_EVENTS;
  flushIn(isUrgent ? 0 : BATCH_DELAY);
};

/** Sends at once after 0 ms, otherwise when a flush is due anyway, at the latest after the time. */
const flushIn = (milliseconds) => {
  if (timer && milliseconds) return;
  clearTimeout(timer);
  timer = later(flush, milliseconds);
};

/** Sends what is queued, unless a pause is on. A page that is being left calls it directly: its timers do not run. */
export const flush = () => {
  clearTimeout(timer);
  timer = unsent = 0;
  if (!granted) return;
  const wait = local.get(RETRY_AT) - Date.now();
  if (wait > 0 && wait <= LONGEST_PAUSE) return flushIn(wait);
  const batch = nextBatch();
  if (batch.length) send(batch);
  else if (batch.more) flushIn(BATCH_DELAY);
};

/** Sends now: the network is back. */
export const retry = () => {
  local.remove(RETRY_AT);
  flush();
};

/**
 * A string body is text/plain and needs no preflight. A keepalive fetch outlives the page, as a beacon does, and
 * unlike a beacon it reports the answer.
 */
const send = async (batch) => {
  const mode = granted === COOKIELESS ? '&cookieless=1' : '';
  hold(batch);
  let response;
  try {
    response = await fetch(url + mode, {
      method: 'POST',
      body: `{"sent_at":"${new Date().toISOString()}","events":[${textOf(batch)}]}`,
      keepalive: true,
      credentials: serverCookie && !mode ? 'include' : 'omit',
      signal: AbortSignal.timeout && AbortSignal.timeout(TIMEOUT),
    });
    // A request counts against the 64 KiB of keepalive until its last byte has arrived.
    log(response.status, await response.text());
  } catch (error) {
    log(error);
  }
  release(batch);
  if (granted < CONSENTED) forgetUser(); // the answer to a request before a withdrawal may have set the cookie
  if (granted) attempt(() => answered(batch, response));
};

const answered = (batch, response) => {
  const { ok, status } = response || {};
  const isRefused = [400, 413, 422].includes(status);
  if (isRefused && batch.length > 1) {
    // The batch is too large or one event spoils it: send halves until that event is alone.
    const middle = batch.length >> 1;
    send(batch.slice(0, middle));
    send(batch.slice(middle));
  } else if (ok || isRefused) {
    if (isRefused) log('dropped', textOf(batch));
    failures = 0;
    remove(batch);
    flushIn(batch.more ? 0 : BATCH_DELAY);
  } else failed(response);
};

/** Pauses for 1, 2, 4 … seconds with jitter, at least as long as a Retry-After asks, at most an hour. */
const failed = (response) => {
  const asked = response && response.headers.get('Retry-After');
  const pause = Math.max(2 ** failures++ * SECOND, asked * SECOND || Date.parse(asked) - Date.now() || 0);
  local.set(RETRY_AT, Date.now() + Math.min(pause * (1 + Math.random() / 2), LONGEST_PAUSE));
  flush();
};

/** Empties the queue. */
export const forgetUnsent = () => {
  forgetQueue();
  local.remove(RETRY_AT);
};
