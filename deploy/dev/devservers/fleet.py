"""The three servers of one folder: started together, and told to others as variables of
the environment."""

import os
import shlex
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from . import s3
from .kafka import Kafka
from .postgres import Postgres
from .process import Failed
from .s3 import Store

KINDS = {kind.name: kind for kind in (Kafka, Store, Postgres)}


class Fleet:
    """`tools` is where programs are fetched to; several folders may share it."""

    def __init__(self, folder, tools=None):
        self.folder = Path(folder).resolve()
        self.tools = Path(tools or os.environ.get("TINTYPE_DEV_TOOLS") or self.folder / "tools").resolve()
        self.servers = {name: kind(self.folder, self.tools) for name, kind in KINDS.items()}

    def __getitem__(self, name):
        if name not in self.servers:
            raise Failed(f"there is no server {name!r}; there are {', '.join(self.servers)}")
        return self.servers[name]

    def up(self, names=None):
        """Starts those that do not run, at the same time; seconds until each served."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self.tools.mkdir(parents=True, exist_ok=True)
        names = list(names or self.servers)
        with ThreadPoolExecutor(len(names)) as pool:
            took = dict(zip(names, pool.map(lambda name: self[name].start(), names)))
        (self.folder / "env").write_text(self.exports())
        return took

    def down(self):
        """Ends all of them; names of those that ran."""
        return [name for name, server in self.servers.items() if server.end()]

    def variables(self):
        """What a client needs, under the names that AWS's tools and Tintype read."""
        return {
            "AWS_ENDPOINT_URL": self["s3"].endpoint,
            "AWS_ALLOW_HTTP": "true",
            "AWS_ACCESS_KEY_ID": s3.ACCESS_KEY,
            "AWS_SECRET_ACCESS_KEY": s3.SECRET_KEY,
            "AWS_REGION": s3.REGION,
            "TINTYPE_KAFKA": self["kafka"].address,
            "TINTYPE_OBJECTS": f"s3://{s3.BUCKET}",
            "TINTYPE_CATALOG": self["postgres"].url,
        }

    def exports(self):
        return "".join(f"export {name}={shlex.quote(value)}\n" for name, value in self.variables().items())
