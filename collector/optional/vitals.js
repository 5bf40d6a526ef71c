// Optional module (`data-web-vitals`): web-vitals (its build stands above, as the global `webVitals` of this file)
// measures. What is known when the page hides goes into one event, in milliseconds (CLS without a unit); another
// follows only if a later hiding knows more.

window.tildaAnalytics.extend((record) => {
  const known = {};
  let changed = false;
  const note = ({ name, value }) => {
    const rounded = Math.round(value * 1000) / 1000;
    changed = changed || known[name.toLowerCase()] !== rounded;
    known[name.toLowerCase()] = rounded;
  };
  const report = () => {
    if (document.visibilityState !== 'hidden' || !changed) return;
    record('web_vitals', { web_vitals: known });
    changed = false;
  };
  const { onCLS, onFCP, onINP, onLCP, onTTFB } = webVitals;
  [onCLS, onFCP, onINP, onLCP, onTTFB].forEach((measure) => measure(note));
  // Registered after those of web-vitals, so that they have told their final values.
  document.addEventListener('visibilitychange', report);
});
