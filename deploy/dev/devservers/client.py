"""The little of S3 that the harness speaks itself: signed requests (Signature Version 4)
over a connection kept per thread. No retries: what is probed is the server. Only a reading
request that finds its kept connection closed is sent once more, on a new one."""

import hashlib
import hmac
import http.client
import threading
import time
import urllib.parse
import xml.etree.ElementTree as xml


class S3:
    """A bucket on 127.0.0.1."""

    def __init__(self, port, bucket, access_key, secret_key, region, timeout_s=30):
        self.port, self.bucket, self.timeout_s = port, bucket, timeout_s
        self.access_key, self.secret_key, self.region = access_key, secret_key, region
        self._local = threading.local()

    def list_buckets(self):
        return self.request("GET", "/")[0]

    def make_bucket(self):
        return self.request("PUT", f"/{self.bucket}")[0]

    def put(self, key, body, **headers):
        """Status of a PUT; `if_none_match="*"` and the like become headers."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.request("PUT", f"/{self.bucket}/{key}", body, named)[0]

    def get(self, key):
        status, body = self.request("GET", f"/{self.bucket}/{key}")
        return status, body

    def head(self, key):
        return self.request("HEAD", f"/{self.bucket}/{key}")[0]

    def list(self, prefix=""):
        """All keys under a prefix, with their sizes."""
        found, after = {}, None
        while True:
            query = {"list-type": "2", "prefix": prefix} | ({"continuation-token": after} if after else {})
            status, body = self.request("GET", f"/{self.bucket}", query=query)
            if status != 200:
                raise OSError(f"listing {prefix!r} was answered {status}: {body[:300]!r}")
            tree = xml.fromstring(body)
            space = tree.tag.partition("}")[0] + "}" if tree.tag.startswith("{") else ""
            for entry in tree.iter(f"{space}Contents"):
                found[entry.findtext(f"{space}Key")] = int(entry.findtext(f"{space}Size"))
            after = tree.findtext(f"{space}NextContinuationToken")
            if not after:
                return found

    def request(self, method, path, body=b"", headers=None, query=None):
        path = urllib.parse.quote(path)
        pairs = sorted((query or {}).items())
        asked = "&".join(f"{quoted(k)}={quoted(v)}" for k, v in pairs)
        signed = self.signed(method, path, asked, body, headers or {})
        connection = getattr(self._local, "connection", None)
        kept = connection is not None
        if not kept:
            connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=self.timeout_s)
            self._local.connection = connection
        try:
            connection.request(method, path + ("?" + asked if asked else ""), body, signed)
            answer = connection.getresponse()
            return answer.status, answer.read()
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            self._local.connection = None
            if kept and method in ("GET", "HEAD") and not isinstance(error, TimeoutError):
                return self.request(method, urllib.parse.unquote(path), body, headers, query)
            raise OSError(f"{method} {path}: {type(error).__name__}: {error}") from error

    def signed(self, method, path, query, body, headers):
        now = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
        digest = headers.get("x-amz-content-sha256") or hashlib.sha256(body).hexdigest()
        named = {k.lower(): v for k, v in headers.items()} | {
            "host": f"127.0.0.1:{self.port}", "x-amz-date": now, "x-amz-content-sha256": digest,
        }
        names = sorted(named)
        canonical = "\n".join([
            method, path, query, *(f"{n}:{named[n].strip()}" for n in names), "", ";".join(names), digest,
        ])
        scope = f"{now[:8]}/{self.region}/s3/aws4_request"
        text = "\n".join(["AWS4-HMAC-SHA256", now, scope, hashlib.sha256(canonical.encode()).hexdigest()])
        key = f"AWS4{self.secret_key}".encode()
        for part in (now[:8], self.region, "s3", "aws4_request"):
            key = hmac.new(key, part.encode(), "sha256").digest()
        signature = hmac.new(key, text.encode(), "sha256").hexdigest()
        del named["host"]  # http.client sends it itself
        named["authorization"] = (
            f"AWS4-HMAC-SHA256 Credential={self.access_key}/{scope}, "
            f"SignedHeaders={';'.join(names)}, Signature={signature}"
        )
        return named


def quoted(text):
    return urllib.parse.quote(text, safe="-_.~")
