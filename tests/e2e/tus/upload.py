"""Uploads a file with tuspy as it is: upload.py ENDPOINT KEY FILE CHUNK [checksum]. Prints the upload's URL."""

import sys

from tusclient import client

endpoint, key, path, chunk = sys.argv[1:5]
uploader = client.TusClient(endpoint, headers={"Authorization": f"Bearer {key}"}).uploader(
    path,
    chunk_size=int(chunk),
    metadata={"filename": "clip.mp4"},
    retries=30,
    retry_delay=0.2,
    upload_checksum=sys.argv[5:] == ["checksum"],
)
uploader.upload()
print(uploader.url)
