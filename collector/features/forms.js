// Forms begun, abandoned and sent. Values stay in the page; `optional/fields.js` collects the fields that the site lists.

import { listen, whenForgotten } from '../core/consent.js';
import { attribute } from '../core/elements.js';
import { record, whenEnded } from '../core/pages.js';
import { redact } from '../core/privacy.js';

const touched = new Map(); // forms begun and not yet sent, each with the name of the field last touched

const describe = (form, more) => ({
  id: attribute(form, 'id'),
  name: redact(attribute(form.querySelector('[name=tildaspec-formname]'), 'value') || attribute(form, 'name')),
  ...more,
});

const onField = ({ target }) => {
  const { form, type, name } = target;
  if (!form || type === 'hidden') return;
  if (!touched.has(form)) record('form_start', { form: describe(form) }, form);
  touched.set(form, name || target.id);
};

/** Records that a form was sent or refused. */
export const endForm = (type, form) => {
  if (!form.matches('form')) return;
  record(type, { form: describe(form, { tranid: form.tildaTranId || undefined }) }, form);
  if (type === 'form_submit') touched.delete(form);
};

const reportAbandoned = () => {
  touched.forEach((field, form) => record('form_abandon', { form: describe(form, { field }) }, form));
  touched.clear();
};

export const install = () => {
  listen('input change', onField);
  // Tilda reports its own forms when its server has taken them.
  listen('submit', ({ target }) => target.matches('.js-form-proccess') || endForm('form_submit', target));
  whenEnded.push(reportAbandoned);
  whenForgotten.push(() => touched.clear());
};
