// What Tilda's scripts report: forms taken or refused, popups, and calls of their statistics.

import { granted, listen } from '../core/consent.js';
import { runAll } from '../core/environment.js';
import { record } from '../core/pages.js';
import { endForm } from './forms.js';

/** Functions that features add: called with the arguments of `sendEventToStatistics(page, title, product, price)`. */
export const whenReported = [];

let wrapped; // the function that replaces Tilda's

/** Wraps Tilda's function. Its scripts load at any time, so this runs again at each opportunity. */
const wrap = () => {
  const tilda = window.Tilda || {};
  const original = tilda.sendEventToStatistics;
  if (!original || original === wrapped) return;
  wrapped = tilda.sendEventToStatistics = function (...args) {
    if (granted) runAll(whenReported, ...args);
    return original.apply(this, args);
  };
};

const onPopup = (address) => {
  const [, id] = /\/popup\/([^/]+)/.exec(address) || [];
  if (id) record('popup_open', { popup: { id } });
};

export const install = () => {
  listen('tildaform:aftersuccess', ({ target }) => endForm('form_submit', target));
  listen('tildaform:aftererror', ({ target }) => endForm('form_error', target));
  listen('click auxclick DOMContentLoaded load', wrap);
  whenReported.push(onPopup);
  wrap();
};
