// Optional module (`data-web-vitals`): records the values that web-vitals has measured when the page hides, in
// milliseconds (CLS has no unit). A later hiding records them again only if a value has changed. The build puts the library
// in front of this file, as the local variable `webVitals`.

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
  // Registered after the listeners of web-vitals, which report the final values.
  document.addEventListener('visibilitychange', report);
});
