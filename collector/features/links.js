// Links that lead away: to another site, a telephone, a messenger, a file.

import { listenClicks } from '../core/elements.js';
import { siteDomain, within } from '../core/environment.js';
import { record } from '../core/pages.js';
import { address } from '../core/privacy.js';

const DOWNLOAD = /\.(pdf|docx?|xlsx?|pptx?|csv|epub|zip|rar|7z|gz|dmg|exe|apk|mp[34]|mov)$/i;
const CONTACT = /^(mailto|tel|sms|tg|viber|whatsapp):/;

const onLink = (link) => {
  const { protocol, hostname, pathname, href } = link;
  const details = { link: { url: address(href) } };
  const isWeb = /^http/.test(protocol);
  const isOutside = isWeb ? !within(hostname, siteDomain) : CONTACT.test(protocol);
  if (isWeb && (link.hasAttribute('download') || DOWNLOAD.test(pathname))) record('file_download', details, link);
  else if (isOutside) record('outbound_click', details, link);
};

export const install = () =>
  listenClicks((element) => {
    const link = element.closest('a[href]');
    if (link) onLink(link);
  });
