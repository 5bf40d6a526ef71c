// Page views, and the one way to record an event on them. Attention counts while the page is visible and the visitor
// did something in the last 30 seconds.

import { CONSENTED, granted, listen } from './consent.js';
import { selectorOf, textOf } from './elements.js';
import {
  attempt,
  cut,
  history,
  later,
  listOf,
  location,
  options,
  performance,
  runAll,
  SECOND,
  safely,
  uuid,
} from './environment.js';
import { userId } from './identity.js';
import { address, cleared, isListed, redact } from './privacy.js';
import { device, look, sizes } from './screen.js';
import { keepSession, leaveSession, session, visit } from './session.js';
import { enqueue, flush, retry } from './transport.js';

const ATTENTION = 30 * SECOND;
const TITLE_DELAY = 50; // ms; scripts that change the address set the title a moment later
const LEAVING = /^(page_leave|form_abandon|web_vitals)$/; // neither start nor extend a session

let id;
let url;
let place; // what tells this page from others of a page that changes its address
let referrer;
let excluded;
let opened; // times in ms of performance.now()
let active; // when attention was last counted
let watched; // the page is visible
let engaged; // attention so far, in ms
let opening; // timer of the next page
let left; // the page has reported its totals since it was last shown

// Functions that features add.
export const whenOpened = []; // called when a page view begins
export const whenEnded = []; // called when a page view ends: the page unloads, or its address changes
export const beforeLeave = []; // called with the payload of each page_leave
export const beforeRecord = []; // called with each event and its element, before the event is stored

/** Records one event. `sections` go into its payload. */
export const record = (type, sections, element) => {
  if (!granted || excluded) return;
  if (!LEAVING.test(type)) keepSession();
  const event = {
    event_id: uuid(),
    event_type: type,
    created_at: new Date().toISOString(),
    ...(granted === CONSENTED && {
      session_id: session.id,
      visit_id: visit.id,
      tab_id: session.tab,
      user_id: userId,
    }),
    page_url: url,
    page_title: cut(redact(document.title), 300),
    referrer,
    target_element: element && selectorOf(element),
    target_text: element && textOf(element),
    payload: { page_view_id: id, ...sections },
  };
  runAll(beforeRecord, event, element);
  const sent = cleared(event);
  if (sent) enqueue(sent);
};

/** Returns the address without its campaign. Another path, listed parameter or counted hash is another page. */
const currentPlace = () => address(location.href, isListed);

/** Returns true if `data-exclude` lists the path. A `*` at the end of a pattern stands for any ending. */
const isExcluded = () =>
  listOf(options.exclude).some((pattern) =>
    pattern.endsWith('*') ? location.pathname.startsWith(pattern.slice(0, -1)) : location.pathname === pattern,
  );

/** Begins a page view. */
export const openPage = (from) => {
  id = uuid();
  url = address(location.href);
  place = currentPlace();
  referrer = address(from);
  excluded = isExcluded();
  opened = active = performance.now();
  watched = !document.hidden;
  engaged = left = 0;
  runAll(whenOpened);
  record('page_view', { ...visit.source, device: device(), ...sizes });
};

const onActivity = () => {
  if (!watched) return;
  const now = performance.now();
  engaged += Math.min(now - active, ATTENTION);
  active = now;
};

const inSeconds = (milliseconds) => Math.round(milliseconds / 100) / 10;

/** Returns the seconds since the page view began, and the seconds of attention among them. */
export const timing = () => ({ timeOnPage: inSeconds(performance.now() - opened), engagedTime: inSeconds(engaged) });

/** Reports totals each time that the page hides: on a phone the first time may be the last. */
const reportLeaving = () => {
  if (left) return;
  left = 1;
  onActivity();
  watched = false;
  const sections = { timing: timing(), ...sizes };
  runAll(beforeLeave, sections);
  record('page_leave', sections);
};

const endPage = () => {
  runAll(whenEnded);
  reportLeaving();
};

/** Ends the page while title and sizes are still its own, and opens the next page when that has set its title. */
const onAddress = () => {
  if (currentPlace() === place) return;
  place = currentPlace();
  endPage();
  clearTimeout(opening);
  opening = later(() => openPage(url), TITLE_DELAY);
};

/** Follows pages that change their address without loading. */
const wrapHistory = () => {
  ['pushState', 'replaceState'].forEach((name) => {
    const original = history[name];
    history[name] = function (...args) {
      const result = original.apply(this, args);
      if (granted) attempt(onAddress);
      return result;
    };
  });
  listen('popstate hashchange', onAddress);
};

const onPageHide = () => {
  endPage();
  leaveSession();
  flush();
};

const onVisibility = () => {
  if (!document.hidden) {
    left = 0;
    watched = true;
    active = performance.now();
  } else {
    reportLeaving();
    flush();
  }
};

export const watchPages = () => {
  wrapHistory();
  attempt(() => {
    new ResizeObserver(safely(look)).observe(document.body);
  });
  listen('pointerdown pointermove keydown wheel scroll', onActivity);
  listen('visibilitychange', onVisibility);
  listen('pagehide', onPageHide);
  // Back from the back/forward cache: a new view of the page, in the current session.
  listen('pageshow', ({ persisted }) => persisted && openPage(''));
  listen('online', retry);
};
