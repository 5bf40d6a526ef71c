// Loads the optional modules that the site has switched on.

import { options, script } from '../core/environment.js';
import { saveSession, session } from '../core/session.js';

/** Loads a module from the folder of this script. */
const load = (name) => {
  const module = document.createElement('script');
  module.src = new URL(`collector.${name}.js`, script.src);
  document.head.append(module);
};

export const install = () => {
  if ('webVitals' in options) load('vitals');
  if ('formFields' in options || 'hashEmail' in options) load('fields');
  if ('fingerprint' in options && !session.fingerprinted) {
    session.fingerprinted = true; // once a session is enough
    saveSession();
    load('fingerprint');
  }
};
