// Uploads a file with tus-js-client as it is: upload.js ENDPOINT KEY FILE. Prints the upload's URL.
const fs = require('node:fs');
const tus = require('tus-js-client');

const [endpoint, key, path] = process.argv.slice(2);
const upload = new tus.Upload(fs.createReadStream(path), {
  endpoint,
  headers: { Authorization: `Bearer ${key}` },
  metadata: { filename: 'clip.mp4', filetype: 'video/mp4' },
  retryDelays: [0, 100, 500, 1000, 3000, 5000],
  onError(error) {
    console.error(String(error));
    process.exit(1);
  },
  onSuccess() {
    console.log(upload.url);
  },
});
upload.start();
