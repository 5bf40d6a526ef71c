// What people write who call the collector from TypeScript. Compiled, never run.
/// <reference path="../../../collector/types.d.ts" />

window.tildaAnalytics = window.tildaAnalytics || [];
window.tildaAnalytics.push(['track', 'signup', { plan: 'pro' }], ['consent', true], ['reset']);
window.tildaAnalytics.track?.('video', { seconds: 12 });
window.tildaAnalytics.purchase?.({ id: '17', amount: '1 990,50', currency: 'RUB', items: [{ sku: 'a', quantity: 2 }] });
window.tildaAnalytics.identify?.('crm-9', { email_sha256: 'ab', plan: 'pro' });
window.tildaAnalytics.optOut?.();

// @ts-expect-error: no such call
window.tildaAnalytics.push(['tracks', 'signup']);
// @ts-expect-error: an order has an amount
window.tildaAnalytics.purchase?.({ id: '17' });
// @ts-expect-error: consent is yes or no
window.tildaAnalytics.consent?.('yes');
