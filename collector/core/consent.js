// Consent. Before it the collector stores, sends and remembers nothing; withdrawal removes everything stored.

import { later, listenAlways, log, navigator, options, runAll, safely } from './environment.js';
import { local, readCookie } from './storage.js';

const CONSENT = 'analytics_consent'; // "true", "false", or "never" after optOut()
const TILDA_ANSWER = 500; // milliseconds from a click on Tilda's block until its cookies are written

const mode = options.consent || 'opt-out';
const byDefault = mode === 'opt-out';

let onGranted;

/** Functions that the features add: called when consent is withdrawn, to remove what they hold. */
export const whenForgotten = [];

export let granted = false;

/** Listens as `listenAlways` does, but calls the handler only while consent is given. */
export const listen = (types, handler) => listenAlways(types, (event) => granted && handler(event));

const refused = () => navigator.globalPrivacyControl || navigator.doNotTrack === '1' || local.get(CONSENT) === 'never';

/** Reads the answer that Tilda's own consent block (T972) has stored. */
const tildaConsent = () =>
  readCookie('t_cookiesConsentGiven') === 'true' && /analytics/.test(readCookie('t_cookiesCategories'));

const decide = () => {
  if (mode === 'tilda') apply(tildaConsent());
  else if (/^opt-/.test(mode)) apply((local.get(CONSENT) || String(byDefault)) === 'true');
  else {
    // The name of a function of the page. It may return an answer, return a promise, or call back any number of times.
    const answer = window[mode] && window[mode](safely(apply));
    Promise.resolve(answer).then(
      safely((yes) => typeof yes === 'boolean' && apply(yes)),
      log,
    );
  }
};

const apply = (wanted) => {
  wanted = !!wanted && !refused();
  if (wanted === granted) return;
  granted = wanted;
  if (granted) onGranted();
  else runAll(whenForgotten);
};

/** Applies the visitor's answer and stores it. A "no" is not stored if "no" is the default. */
export const consent = (wanted) => {
  apply(wanted);
  if (refused()) return;
  if (granted || byDefault) local.set(CONSENT, granted);
  else local.remove(CONSENT);
};

/** Stops for good in this browser, whatever a banner says later. */
export const optOut = () => {
  local.set(CONSENT, 'never');
  apply(false);
};

/** Decides now, and calls `start` whenever consent is given. */
export const openConsent = (start) => {
  onGranted = start;
  safely(decide)();
};

/** Decides again when another tab has stored an answer, or when the visitor may have answered Tilda's block. */
export const watchConsent = () => {
  listenAlways('storage', ({ key }) => key === CONSENT && decide());
  if (mode === 'tilda') listenAlways('click', () => later(decide, TILDA_ANSWER));
};
