// The public calls: `window.tildaAnalytics.track(…)` and the others, described in types.d.ts.

import { apply, CONSENTED, consent, granted, listen, optOut, whenForgotten } from './consent.js';
import { options, safely, uuid } from './environment.js';
import { forgetUser, rememberUser } from './identity.js';
import { numberOf } from './numbers.js';
import { beforeLeave, beforeRecord, record } from './pages.js';
import { newVisit } from './session.js';

/** Events whose data is an order. Without the shop, orders may still be recorded by call. */
const ORDERS = COMMERCE
  ? /^(product_view|add_to_cart|remove_from_cart|checkout_start|purchase|refund)$/
  : /^(purchase|refund)$/;

const calls = {
  track: (name, data) =>
    record(
      name,
      ORDERS.test(name) ? { order: COMMERCE ? { ...data, amount: numberOf(data.amount) } : data } : { custom: data },
    ),
  purchase: (order) => calls.track('purchase', order),
  refund: (order) => calls.track('refund', order),
  identify: (id, traits) => granted === CONSENTED && record('identify', { identity: { ...traits, external_id: id } }),
  consent,
  optOut,
  reset() {
    if (granted < CONSENTED) return;
    forgetUser();
    rememberUser(uuid());
    newVisit();
  },
  /** Connects an optional module (`optional/`), which is a separate file. */
  extend: (module) => module(safely(record), listen, options, beforeRecord, whenForgotten, beforeLeave, safely(apply)),
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
