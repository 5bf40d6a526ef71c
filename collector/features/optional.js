// Loads the optional modules that the site has switched on, and those that the page needs.

import { CONSENTED, granted } from '../core/consent.js';
import { later, options, SECOND } from '../core/environment.js';
import { load } from '../core/modules.js';
import { saveSession, session } from '../core/session.js';

/** The options that bear the name of their module. */
const SAME_NAME = /^(errors|search|media|linker|deadClicks|tagged|notFound)$/;

const TAGGED = '[data-ta-event],[class*=ta-event]';

export const install = () => {
  Object.keys(options).forEach((name) => SAME_NAME.test(name) && load(name));
  if ('webVitals' in options) load('vitals');
  if ('formFields' in options || 'hashEmail' in options) load('fields');
  if ('fingerprint' in options && granted === CONSENTED && !session.fingerprinted) {
    session.fingerprinted = true; // once a session is enough
    saveSession();
    load('fingerprint');
  }
  // The page may still be loading.
  later(() => document.querySelector(TAGGED) && load('tagged'), SECOND);
};
