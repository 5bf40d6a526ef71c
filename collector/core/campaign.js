// The campaign that a URL names.

import { cut } from './environment.js';

const CAMPAIGN =
  /^(?:utm_(source|medium|campaign|term|content)|(gclid|gbraid|wbraid|dclid|yclid|ymclid|vkclid|rb_clickid|fbclid|msclkid|ttclid|twclid|li_fat_id))$/;

export const isCampaign = (name) => CAMPAIGN.test(name);

/** Returns {utm: {source, …}, click_ids: {gclid, …}}, without the sections that the query string does not name. */
export const campaignOf = (search) => {
  const campaign = {};
  new URLSearchParams(search).forEach((value, name) => {
    const [, utm, clickId] = CAMPAIGN.exec(value && name) || [];
    const section = utm ? 'utm' : 'click_ids';
    // The first value of a repeated parameter stays.
    if (utm || clickId) campaign[section] = { [utm || clickId]: cut(value, 200), ...campaign[section] };
  });
  return campaign;
};
