// Verifies recorded deliveries by the library of npm. See verify.py.
const { Webhook } = require("standardwebhooks");
const lines = require("node:fs").readFileSync(0, "utf8").trim().split("\n");

let passed = 0;
let refused = 0;
for (const line of lines) {
  const sent = JSON.parse(line);
  const webhook = new Webhook(sent.secret);
  const headers = {
    "webhook-id": sent.id,
    "webhook-timestamp": sent.timestamp,
    "webhook-signature": sent.signature,
  };
  webhook.verify(sent.body, headers);
  passed += 1;
  const body = Buffer.from(sent.body);
  body[passed % body.length] ^= 1;
  try {
    webhook.verify(body.toString(), headers);
  } catch {
    refused += 1;
    continue;
  }
  throw new Error(`passed with a bit flipped: ${line}`);
}
console.log(passed, refused);
