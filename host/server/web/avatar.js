// The picture of an account, as this host keeps it. It is drawn, so that it needs nothing of a page's policy for images, here
// and on other sites. Initials stay where there is none.

const SIZE = 88;

/** Draws the picture of `account` over the initials in `node`, when it is there. */
export function portrayed(api, account, node) {
  const place = node.querySelector('.initials');
  if (place && account.avatar_url) draw(api, account, place).catch(() => {});
  return node;
}

async function draw(api, account, place) {
  const bytes = await api.bytes(`/api/platforms/${account.provider}/accounts/${account.id}/avatar`);
  if (!bytes) return;
  const picture = await createImageBitmap(bytes);
  const side = Math.min(picture.width, picture.height);
  const canvas = document.createElement('canvas');
  canvas.width = SIZE;
  canvas.height = SIZE;
  const brush = canvas.getContext('2d');
  brush.drawImage(picture, (picture.width - side) / 2, (picture.height - side) / 2, side, side, 0, 0, SIZE, SIZE);
  picture.close();
  place.replaceChildren(canvas);
}
