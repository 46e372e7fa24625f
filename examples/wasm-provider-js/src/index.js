// The component: what the host calls, by interface of core/wit/provider.wit.

import { MANIFEST } from "./manifest.js";
import * as connect from "./oauth.js";
import { component } from "./patchbay/index.js";
import * as posts from "./publisher.js";
import * as hooks from "./webhooks.js";

export const { meta, oauth, publisher, webhooks } = component({
  manifest: MANIFEST,
  open(settings) {
    const [unknown] = Object.keys(settings);
    if (unknown !== undefined) throw new Error(`there is no setting ${unknown}: Quill has none`);
  },
  oauth: connect,
  publisher: posts,
  webhooks: hooks,
});
