// The public calls: `window.tildaAnalytics.track(…)` and the others, described in types.d.ts.

import { CONSENTED, consent, granted, listen, optOut, whenForgotten } from './consent.js';
import { numberOf, options, safely, uuid } from './environment.js';
import { forgetUser, rememberUser } from './identity.js';
import { beforeLeave, beforeRecord, record } from './pages.js';
import { newVisit } from './session.js';

const calls = {
  track: (name, data) => (name === 'purchase' ? calls.purchase(data) : record(name, { custom: data })),
  purchase: (order) => record('purchase', { order: { ...order, amount: numberOf(order.amount) } }),
  identify: (id, traits) => record('identify', { identity: { ...traits, external_id: id } }),
  consent,
  optOut,
  reset() {
    if (granted < CONSENTED) return;
    forgetUser();
    rememberUser(uuid());
    newVisit();
  },
  /** Connects an optional module (`optional/`), which is a separate file. */
  extend: (module) => module(safely(record), listen, options, beforeRecord, whenForgotten, beforeLeave),
};

/** Before the collector has loaded, `tildaAnalytics` may be an array of calls: [['track', 'signup'], …]. */
export const api = window.tildaAnalytics || [];
window.tildaAnalytics = api;

/** Turns the array into the object with the calls. Returns a function that makes the calls that were waiting. */
export const openCalls = () => {
  const waiting = Array.from(api);
  Object.keys(calls).forEach((name) => {
    api[name] = safely(calls[name]);
  });
  api.push = (...queued) => queued.forEach(safely(([name, ...args]) => api[name](...args)));
  return () => api.push(...waiting);
};
