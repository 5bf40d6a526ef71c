// Optional module (`data-not-found`): pages that do not exist, as events `not_found`. The attribute stands on the script tag of
// the 404 page, or as `data-not-found="auto"` on all pages: then the status counts with which the server answered.

window.tildaAnalytics.extend((record, _listen, options) => {
  const { responseStatus } = performance.getEntriesByType('navigation')[0] || {};
  if (options.notFound !== 'auto' || responseStatus === 404) record('not_found');
});
