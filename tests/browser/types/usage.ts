// Calls of the collector from TypeScript. This file is only compiled, to test the type declarations.
/// <reference path="../../../collector/types.d.ts" />

window.tildaAnalytics = window.tildaAnalytics || [];
window.tildaAnalytics.push(['track', 'signup', { plan: 'pro' }], ['consent', true], ['reset']);
window.tildaAnalytics.track?.('video', { seconds: 12 });
window.tildaAnalytics.purchase?.({ id: '17', amount: '1 990,50', currency: 'RUB', items: [{ sku: 'a', quantity: 2 }] });
window.tildaAnalytics.refund?.({ id: '17', amount: 990 });
window.tildaAnalytics.refund?.({ id: '17' });
window.tildaAnalytics.identify?.('crm-9', { email_sha256: 'ab', plan: 'pro' });
window.tildaAnalytics.optOut?.();
window.tildaAnalytics.push(['setProperties', { plan: 'pro', seats: 3, old: null }]);

// @ts-expect-error: no such call
window.tildaAnalytics.push(['tracks', 'signup']);
// @ts-expect-error: an order needs an amount
window.tildaAnalytics.purchase?.({ id: '17' });
// @ts-expect-error: consent takes a boolean
window.tildaAnalytics.consent?.('yes');
// @ts-expect-error: properties are flat
window.tildaAnalytics.setProperties?.({ plan: { name: 'pro' } });
