// Loads optional modules (`optional/`), each a file beside this script.

import { script } from './environment.js';

let policy;

/**
 * Loads the module, then calls `then`, also if loading fails. Where a page demands Trusted Types, only a policy may name
 * the source of a script.
 */
export const load = (name, then) => {
  const rules = { createScriptURL: String };
  policy = policy || (window.trustedTypes ? window.trustedTypes.createPolicy('tilda-analytics', rules) : rules);
  const module = document.createElement('script');
  module.src = policy.createScriptURL(new URL(`collector.${name}.js`, script.src));
  module.nonce = script.nonce;
  module.onload = module.onerror = then;
  document.head.append(module);
};
