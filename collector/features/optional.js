// Loads the optional modules that the site has switched on.

import { options, script } from '../core/environment.js';
import { saveSession, session } from '../core/session.js';

const names = [];

export const install = () => {
  if ('webVitals' in options) names.push('vitals');
  if ('formFields' in options || 'hashEmail' in options) names.push('fields');
  if ('fingerprint' in options && !session.fingerprinted) {
    session.fingerprinted = true; // once a session is enough
    saveSession();
    names.push('fingerprint');
  }
  // Where a page demands Trusted Types, only a policy may name the source of a script.
  const policy =
    names[0] && window.trustedTypes && window.trustedTypes.createPolicy('tilda-analytics', { createScriptURL: String });
  names.forEach((name) => {
    const module = document.createElement('script');
    const url = new URL(`collector.${name}.js`, script.src);
    module.src = policy ? policy.createScriptURL(url) : url;
    module.nonce = script.nonce;
    document.head.append(module);
  });
};
