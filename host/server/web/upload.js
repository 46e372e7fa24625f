// The page to publish: one provider, its accounts, and the way of one post to its end.

import { api } from './api.js';
import { Publishing } from './compose.js';
import { $, badge, el, notice, problemBox } from './dom.js';
import { t } from './language.js';
import { begin } from './page.js';

const provider = location.pathname.split('/')[2];
start();

async function start() {
  const query = await begin();
  try {
    const platform = await api.get(`/api/platforms/${provider}`);
    const title = t('Publish to {platform}', { platform: platform.display_name });
    document.title = `${title} – Patchbay`;
    $('title').replaceChildren(title, platform.simulated ? badge('warn', t('Simulated')) : '');
    if (platform.simulated) {
      $('simulated').replaceChildren(notice('warn', t('A simulator stands in for {platform}: nothing reaches the real platform.', { platform: platform.display_name })));
    }
    const publishing = new Publishing({
      place: $('publish'),
      api,
      platform,
      connect: () => location.assign(`/platforms/connect/${provider}`),
      onShow: ({ post, account }) => history.replaceState(null, '', post ? `${location.pathname}#${post}` : `${location.pathname}?account=${account}`),
    });
    const show = () => {
      const post = /^#(post_[0-9a-f]{32})$/.exec(location.hash)?.[1];
      return post ? publishing.follow(post) : publishing.form(query.get('account'));
    };
    addEventListener('hashchange', show);
    await show();
  } catch (problem) {
    $('publish').replaceChildren();
    $('problem').replaceChildren(problemBox(problem, t('This page cannot be shown'), el('p', {}, el('a', { href: location.pathname }, t('Try again')))));
  }
}
