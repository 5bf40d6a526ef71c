// The visit, shared by all tabs, and the session, which belongs to one tab. Both end after 30 minutes without activity.
// A visit also ends when a page arrives with another campaign or another external referrer; this ends the tab's session
// too. The models sort events into sessions by rules of their own; these IDs are their raw material.

import { campaignOf } from './campaign.js';
import {
  attempt,
  isTopFrame,
  listOf,
  location,
  MINUTE,
  options,
  performance,
  siteDomain,
  uuid,
  within,
} from './environment.js';
import { local, tab } from './storage.js';

const VISIT = 'analytics_visit';
const SESSION = 'analytics_session';
const SESSION_ID = 'analytics_session_id';
const IDLE = 30 * MINUTE;

/** { id, active: time of the last activity in ms, source: the sections of a page view that name its source } */
export let visit;

/** { id, tab: ID of the tab, active, left: the last page of the tab has gone, fingerprinted } */
export let session;

const read = (area, key) => attempt(() => JSON.parse(area.get(key)));

const isAlive = (it) => it && Math.abs(Date.now() - it.active) < IDLE;

export const saveSession = () => tab.set(SESSION, JSON.stringify(session));

/** Returns the campaign of this page, and the host that sent the visitor unless it is this site or a payment page. */
const sourceOfPage = () => {
  const source = campaignOf(location.search);
  const host = document.referrer && new URL(document.referrer).hostname;
  const internal = [siteDomain, ...listOf(options.referrerExclusions)];
  if (host && !internal.some((domain) => within(host, domain))) source.visit_referrer = host;
  return source;
};

/** Returns true if the source names a campaign or a referrer that is not the visit's. */
const isAnother = (source) =>
  Object.keys(source).some((section) => JSON.stringify(source[section]) !== JSON.stringify(visit.source[section]));

/** Extends the visit and the session, or starts new ones. */
const proceed = (isNew, source) => {
  isNew = isNew || !isAlive(visit);
  if (isNew) visit = { id: uuid(), source };
  if (isNew || !isAlive(session)) {
    session = { id: uuid(), tab: session ? session.tab : uuid() };
    tab.set(SESSION_ID, session.id);
  }
  visit.active = session.active = Date.now();
  session.left = undefined;
  local.set(VISIT, JSON.stringify(visit));
  saveSession();
};

/** Starts a visit without a source. */
export const newVisit = () => proceed(true, {});

/** Extends the visit and the session with an event of an active visitor. Other pages may have changed both. */
export const keepSession = () => {
  visit = read(local, VISIT) || visit;
  session = read(tab, SESSION) || session;
  proceed(false, {});
};

/**
 * Continues or starts the visit and the session of a page that has just loaded. Returns the page's referrer: '' after a
 * reload and after "back" within a visit, because the browser then repeats the referrer of the first load.
 */
export const openSession = () => {
  const { type } = performance.getEntriesByType('navigation')[0] || {};
  const isRestored = document.wasDiscarded || /^(reload|back_forward)$/.test(type);
  const source = sourceOfPage();
  visit = read(local, VISIT);
  session = read(tab, SESSION);
  // A window opened by a page inherits a copy of its sessionStorage. In that copy, the page has not left.
  if (session && !session.left && !isRestored && isTopFrame) session = undefined;
  const isNew = !isAlive(visit) || (!isRestored && isAnother(source));
  proceed(isNew, source);
  return isRestored && !isNew ? '' : document.referrer;
};

/** Marks the session as one whose page has gone, so that the next page of this tab continues it. */
export const leaveSession = () => {
  if (!isTopFrame) return;
  session.left = true;
  saveSession();
};

export const forgetSession = () => {
  local.remove(VISIT);
  [SESSION_ID, SESSION].forEach(tab.remove);
};
