// Optional module (`data-web-vitals`): web-vitals (its build stands above, as the global `webVitals` of this file)
// measures; one event a page carries what is known when the page hides, in milliseconds (CLS without a unit).

window.tildaAnalytics.extend((record) => {
  const known = {};
  const note = ({ name, value }) => {
    known[name.toLowerCase()] = Math.round(value * 1000) / 1000;
  };
  const report = () => {
    if (document.visibilityState !== 'hidden' || !Object.keys(known).length) return;
    record('web_vitals', { web_vitals: { ...known } });
    Object.keys(known).forEach((name) => delete known[name]);
  };
  const { onCLS, onFCP, onINP, onLCP, onTTFB } = webVitals;
  [onCLS, onFCP, onINP, onLCP, onTTFB].forEach((measure) => measure(note));
  // Registered after those of web-vitals, so that they have told their final values.
  document.addEventListener('visibilitychange', report);
});
