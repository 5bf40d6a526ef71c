// Loads the optional modules that the site has switched on.

import { CONSENTED, granted } from '../core/consent.js';
import { options } from '../core/environment.js';
import { load } from '../core/modules.js';
import { saveSession, session } from '../core/session.js';

export const install = () => {
  if ('webVitals' in options) load('vitals');
  if ('formFields' in options || 'hashEmail' in options) load('fields');
  if ('fingerprint' in options && granted === CONSENTED && !session.fingerprinted) {
    session.fingerprinted = true; // once a session is enough
    saveSession();
    load('fingerprint');
  }
};
