// The visitor: a random UUID in localStorage and in a first-party cookie, which Tilda's webhook carries to the API. If
// the browser refuses both, the ID lives as long as the page. With `data-server-cookie` the API, on a subdomain of the
// site, sets the cookie: Safari keeps cookies and storage written by scripts for 7 days only.

import { attempt, location, options } from './environment.js';
import { local, readCookie } from './storage.js';

const USER_ID = 'analytics_user_id';
const YEAR = 365 * 24 * 60 * 60; // seconds

export const serverCookie = 'serverCookie' in options;

export let userId;

const writeCookie = (value, seconds, domain) =>
  attempt(() => {
    document.cookie =
      `${USER_ID}=${value}; Path=/; Max-Age=${seconds}; SameSite=Lax` +
      (domain ? `; Domain=${domain}` : '') +
      (location.protocol === 'https:' ? '; Secure' : '');
  });

export const rememberUser = (id) => {
  userId = id;
  local.set(USER_ID, id);
  if (!serverCookie) writeCookie(id, YEAR, options.cookieDomain);
};

/**
 * Returns the ID that a link from another domain of the site brought, or reads the stored ID. The cookie comes first:
 * subdomains may share it, and a server's cookie outlives storage.
 */
export const knownUser = () =>
  [options.linked, readCookie(USER_ID), local.get(USER_ID)].find((id) => /^[\w.-]{8,128}$/.test(id || ''));

export const forgetUser = () => {
  local.remove(USER_ID);
  // The API may have set the cookie for the host of the page or for any of its parents.
  let domain = location.hostname;
  writeCookie('', 0);
  while (domain) {
    writeCookie('', 0, domain);
    domain = domain.replace(/^[^.]*\.?/, '');
  }
};
