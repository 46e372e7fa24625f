// The language of a page. Texts are written in English where they stand, and looked up by that in the other languages.

let texts = {};

/** The language that is spoken: `en` or `fr`. */
export let language = 'en';

/** Chooses the language: the one that is asked for, or the browser's first that is known here. */
export async function speak(wanted) {
  const asked = wanted ? [wanted] : navigator.languages;
  const known = asked.map((tag) => tag.toLowerCase().split('-')[0]).find((tag) => tag === 'en' || tag === 'fr');
  language = known ?? 'en';
  texts = language === 'fr' ? (await import('./fr.js')).default : {};
}

/** A text in the language that is spoken. `{name}` stands for a value. */
export function t(text, values = {}) {
  return (texts[text] ?? text).replace(/\{(\w+)\}/g, (mark, key) => values[key] ?? mark);
}

/** Looks up the texts of a provider, which come with its form. */
export function translator(form) {
  const known = form?.translations?.find((one) => one.language === language)?.texts ?? {};
  return (text) => known[text] ?? text;
}
