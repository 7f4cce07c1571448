"""An S3 server on a folder: versitygw, the one of those tried that passes the gate
(see the README), and the bucket."""

from . import fetch
from .client import S3
from .process import Daemon, Failed, accepts

PACKAGE, VERSION = "github.com/versity/versitygw/cmd/versitygw", "v1.8.0"
ACCESS_KEY, SECRET_KEY = "tintype", "tintype-dev-secret"
REGION, BUCKET = "us-east-1", "tintype"


class Store(Daemon):
    """The S3 server; `client` speaks to its bucket."""

    name = "s3"

    @property
    def endpoint(self):
        return f"http://127.0.0.1:{self.port()}"

    def client(self):
        return S3(self.port(), BUCKET, ACCESS_KEY, SECRET_KEY, REGION)

    def fetch(self):
        self.program = fetch.go(self.tools, PACKAGE, VERSION)

    def prepare(self):
        for name in ("data", "sidecar"):
            (self.folder / name).mkdir(exist_ok=True)

    def command(self):
        # Metadata in files beside the data: not every file system has extended attributes.
        return [self.program, "--quiet", "--keep-alive", "--port", f"127.0.0.1:{self.port()}",
                "--access", ACCESS_KEY, "--secret", SECRET_KEY, "--region", REGION,
                "posix", "--sidecar", self.folder / "sidecar", self.folder / "data"], {}

    def answers(self):
        if not accepts(self.port()):
            return False
        try:
            return self.client().list_buckets() == 200
        except OSError:
            return False

    def settle(self):
        status = self.client().make_bucket()
        if status not in (200, 409):
            raise Failed(f"making the bucket {BUCKET} was answered {status}")
