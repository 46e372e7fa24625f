"""Verifies recorded deliveries by the library of PyPI, and that none passes with a bit flipped. Standard input: a JSON object
a line, with the fields secret, id, timestamp, signature and body. Prints how many passed and how many were refused."""

import json
import sys

from standardwebhooks.webhooks import Webhook, WebhookVerificationError

passed = refused = 0
for line in sys.stdin:
    sent = json.loads(line)
    webhook = Webhook(sent["secret"])
    headers = {f"webhook-{name}": sent[name] for name in ("id", "timestamp", "signature")}
    webhook.verify(sent["body"], headers)
    passed += 1
    body = bytearray(sent["body"].encode())
    body[passed % len(body)] ^= 1
    try:
        webhook.verify(body.decode(errors="replace"), headers)
        sys.exit(f"passed with a bit flipped: {line}")
    except WebhookVerificationError:
        refused += 1
print(passed, refused)
