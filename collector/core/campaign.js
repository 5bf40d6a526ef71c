// The campaign that a URL names.

import { cut } from './environment.js';

const UTM = /^utm_(source|medium|campaign|term|content)$/;
const CLICK_ID = /^(gclid|gbraid|wbraid|dclid|yclid|ymclid|vkclid|rb_clickid|fbclid|msclkid|ttclid|twclid|li_fat_id)$/;

export const isCampaign = (name) => UTM.test(name) || CLICK_ID.test(name);

/** Returns {utm: {source, …}, click_ids: {gclid, …}}, without the sections that the query string does not name. */
export const campaignOf = (search) => {
  const campaign = {};
  const note = (section, name, value) => {
    campaign[section] = { [name]: cut(value, 200), ...campaign[section] }; // the first value of a repeated parameter
  };
  new URLSearchParams(search).forEach((value, name) => {
    if (!value) return;
    if (UTM.test(name)) note('utm', name.slice(4), value);
    if (CLICK_ID.test(name)) note('click_ids', name, value);
  });
  return campaign;
};
