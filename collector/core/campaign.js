// The campaign that a URL names.

const UTM = /^utm_(source|medium|campaign|term|content)$/;
const CLICK_ID = /^([gy]clid|ymclid|fbclid|msclkid|vkclid|rb_clickid)$/;

export const isCampaign = (name) => UTM.test(name) || CLICK_ID.test(name);

/** Returns {utm: {source, …}, click_ids: {gclid, …}}, without the sections that the query string does not name. */
export const campaignOf = (search) => {
  const campaign = {};
  const note = (section, name, value) => {
    campaign[section] = { ...campaign[section], [name]: value.slice(0, 200) };
  };
  new URLSearchParams(search).forEach((value, name) => {
    if (!value) return;
    if (UTM.test(name)) note('utm', name.slice(4), value);
    if (CLICK_ID.test(name)) note('click_ids', name, value);
  });
  return campaign;
};
