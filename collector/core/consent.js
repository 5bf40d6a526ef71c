// Consent. Without it the collector stores, sends and remembers nothing, or in the mode `cookieless` stores nothing in the
// browser. Withdrawal removes everything stored.

import { later, listenAlways, navigator, options, runAll, safely } from './environment.js';
import { load } from './modules.js';
import { local, persist, readCookie } from './storage.js';

const CONSENT = 'analytics_consent'; // "true", "false", or "never" after optOut()
const TILDA_ANSWER = 500; // milliseconds from a click on Tilda's block until its cookies are written

// Values of `granted`.
const NOTHING = 0;
export const COOKIELESS = 1; // events are recorded without IDs, and the browser stores nothing
export const CONSENTED = 2;

const mode = options.consent || 'tilda';
const isCookieless = mode === 'cookieless';
const readsTilda = mode === 'tilda' || isCookieless;
const isAsked = !readsTilda && !/^opt-/.test(mode); // `optional/consent.js` asks the page or a consent platform

let onGranted;
let beforeUpgrade;
let tildaBefore; // Tilda's answer when consent was last decided

/** Functions that the features add: called when consent is withdrawn, to remove what they hold. */
export const whenForgotten = [];

export let granted = NOTHING;

/** Listens as `listenAlways` does, but calls the handler only while events are recorded. */
export const listen = (types, handler) => listenAlways(types, (event) => granted && handler(event));

const refused = () =>
  (options.privacySignals !== 'off' && (navigator.globalPrivacyControl || navigator.doNotTrack === '1')) ||
  local.get(CONSENT) === 'never';

/** Reads the answer that Tilda's own consent block (T972) has stored. */
const tildaConsent = () =>
  readCookie('t_cookiesConsentGiven') === 'true' && /analytics/.test(readCookie('t_cookiesCategories'));

/** Returns the visitor's latest answer: stored by `consent`, given to Tilda's block, or the default. */
const answer = () => (local.get(CONSENT) || String(readsTilda ? tildaConsent() : mode === 'opt-out')) === 'true';

const decide = () => {
  tildaBefore = tildaConsent();
  apply(isAsked ? granted : answer());
  if (!isAsked && !granted) runAll(whenForgotten); // what the browser holds from another mode or an answer of the API
};

/** Starts or stops recording, unless the browser or the visitor has refused for good. */
export const apply = (wanted) => {
  const before = granted;
  const next = refused() ? NOTHING : wanted ? CONSENTED : +isCookieless;
  if (next === before) return;
  if (next > before) beforeUpgrade();
  granted = next;
  persist(next !== COOKIELESS);
  if (next < CONSENTED) runAll(whenForgotten);
  if (next) onGranted(before);
};

/** Applies the visitor's answer. It is stored unless it is what the collector assumes without it. */
export const consent = (wanted) => {
  if (!refused()) {
    local.remove(CONSENT);
    if (answer() !== !!wanted) local.set(CONSENT, !!wanted, true);
  }
  apply(wanted);
};

/** Stops for good in this browser, whatever a banner says later. */
export const optOut = () => {
  local.set(CONSENT, 'never', true);
  apply();
};

/**
 * Decides now. Calls `start(before)` whenever `granted` changes from `before` to another value than 0, and `flush` before
 * cookieless events are followed by others.
 */
export const openConsent = (start, flush) => {
  onGranted = start;
  beforeUpgrade = flush;
  if (isAsked) load('consent');
  safely(decide)();
};

/** Decides again when another tab has stored an answer, or when the visitor has answered Tilda's block. */
export const watchConsent = () => {
  listenAlways('storage', ({ key }) => key === CONSENT && decide());
  if (readsTilda) listenAlways('click', () => later(onTilda, TILDA_ANSWER));
};

const onTilda = () => {
  if (tildaConsent() === tildaBefore) return;
  if (!refused()) local.remove(CONSENT); // the latest answer counts
  decide();
};
