// The session. It ends after 30 minutes without activity. A new one also starts in a new tab or window, with another
// campaign, and with an external referrer other than the session's own.

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
import { tab } from './storage.js';

const SESSION_ID = 'analytics_session_id';
const SESSION = 'analytics_session';
const IDLE = 30 * MINUTE;
// Coming back from a payment page starts no session. The dbt seed `referrer_exclusions` holds the same list.
const REFERRER_EXCLUSIONS = listOf(
  `paypal.com stripe.com yookassa.ru yoomoney.ru robokassa.ru cloudpayments.ru prodamus.ru tinkoff.ru tbank.ru
  sberbank.ru alfabank.ru vtb.ru payanyway.ru paykeeper.ru ${options.referrerExclusions || ''}`,
);

/** { id, active: time of the last activity in ms, referrer: host, campaign, left: its page has gone, fingerprinted } */
export let session;

/** Returns the host that sent the visitor here, or '' if that is this site or a payment page. */
const externalReferrer = () => {
  const host = document.referrer && new URL(document.referrer).hostname;
  return !host || [siteDomain, ...REFERRER_EXCLUSIONS].some((domain) => within(host, domain)) ? '' : host;
};

export const saveSession = () => {
  tab.set(SESSION, JSON.stringify(session));
};

export const newSession = (referrer, campaign) => {
  session = { id: uuid(), active: Date.now(), referrer, campaign };
  tab.set(SESSION_ID, session.id);
  saveSession();
};

const storedSession = () => attempt(() => JSON.parse(tab.get(SESSION)));

const expired = () => Math.abs(Date.now() - session.active) > IDLE;

/**
 * Continues or starts the session of a page that has just loaded. Returns the page's referrer: '' after a reload and
 * after "back", because the browser then repeats the referrer of the first load.
 */
export const openSession = () => {
  const referrer = externalReferrer();
  const campaign = campaignOf(location.search);
  const { type } = performance.getEntriesByType('navigation')[0] || {};
  session = storedSession();
  const arrived = !session || (type !== 'reload' && type !== 'back_forward');
  // A window opened by a page inherits a copy of its sessionStorage. In that copy, the page has not left.
  const continues =
    session &&
    (session.left || !isTopFrame) &&
    !expired() &&
    !(arrived && referrer && referrer !== session.referrer) &&
    !(arrived && (campaign.utm || campaign.click_ids) && JSON.stringify(campaign) !== JSON.stringify(session.campaign));
  if (!continues) newSession(arrived ? referrer : '', campaign);
  return arrived ? document.referrer : '';
};

/** Extends the session. Called with every event of an active visitor. Other pages of this tab may have renewed it. */
export const keepSession = () => {
  session = storedSession() || session;
  if (expired()) newSession('');
  session.active = Date.now();
  session.left = undefined;
  saveSession();
};

/** Marks the session as one whose page has gone, so that the next page of this tab continues it. */
export const leaveSession = () => {
  if (!isTopFrame) return;
  session.left = true;
  saveSession();
};

export const forgetSession = () => {
  [SESSION_ID, SESSION].forEach(tab.remove);
};
