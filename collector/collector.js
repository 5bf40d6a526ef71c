// Tilda Analytics collector: one script tag, no dependency, one global, `window.tildaAnalytics`.
//
//   <script async src="https://api.example.com/collector.js" data-site-key="…"></script>
//
// Three rules hold everywhere:
// 1. An event is stored before it is sent, and removed when the API has answered 2xx. A page may die at any moment.
// 2. `event_id` and `created_at` are set once, so that sending an event twice is harmless.
// 3. No error of the collector reaches the page: every entry point goes through `safely`.
//
// This file lists the parts in the order in which they start. README.md describes the options and the calls.

import { api, openCalls } from './core/calls.js';
import { CONSENTED, granted, openConsent, watchConsent, whenForgotten } from './core/consent.js';
import { later, listenAlways, siteKey, uuid } from './core/environment.js';
import { forgetUser, knownUser, rememberUser } from './core/identity.js';
import { openPage, watchPages } from './core/pages.js';
import { look } from './core/screen.js';
import { forgetSession, openSession } from './core/session.js';
import { flush, forgetUnsent } from './core/transport.js';
import * as clicks from './features/clicks.js';
import * as commerce from './features/commerce.js';
import { openAfter } from './features/early.js';
import * as forms from './features/forms.js';
import * as links from './features/links.js';
import * as optional from './features/optional.js';
import * as scroll from './features/scroll.js';
import * as tilda from './features/tilda.js';

/** Installs the features. Each constant is a flag of the build (build.mjs), which leaves out the code of the others. */
const installFeatures = () => {
  if (CLICKS) clicks.install();
  if (LINKS) links.install();
  if (SCROLL) scroll.install();
  if (FORMS) forms.install();
  if (TILDA) tilda.install();
  if (COMMERCE) commerce.install();
  if (OPTIONAL) optional.install();
};

let started = false;

/** Consent was given or withdrawn, or the mode is cookieless. `before`: whether events were recorded until now. */
const start = (before) => {
  look();
  if (granted === CONSENTED) rememberUser(knownUser() || uuid());
  const referrer = openSession();
  if (!before) openPage(referrer);
  if (started) return;
  started = true;
  watchPages();
  installFeatures();
};

const main = () => {
  if (api.extend) return; // another copy of the script has started on this page
  whenForgotten.push(forgetUnsent, forgetUser, forgetSession);
  const callWaiting = openCalls();
  const open = () => {
    openConsent(start, flush);
    callWaiting();
    watchConsent();
  };
  if (EARLY) openAfter(open);
  else open();
};

/** Waits for the title and for a first frame. In a hidden page there is no frame to wait for. */
const begin = () => {
  if (!document.hidden) requestAnimationFrame(() => later(main, 0));
  else main();
};

if (!siteKey) console.warn('Tilda Analytics: data-site-key is missing');
else if (document.prerendering)
  listenAlways('prerenderingchange', begin); // counts when it is shown
else if (document.body) begin();
else listenAlways('DOMContentLoaded', begin);
