"""`make reference`: writes the configuration's page and schema."""

from __future__ import annotations

from pathlib import Path

import yaml

from config.model import Deployment
from tools.reference.page import Page
from tools.reference.schema import schema, text

ROOT = Path(__file__).resolve().parents[2]


def files() -> dict[str, str]:
    """Each file's path in the checkout → what it must be."""
    namespace = yaml.safe_load((ROOT / "Pulumi.yaml").read_text(encoding="utf-8"))["name"]
    return {
        "docs/configuration.md": Page(Deployment, namespace).text(),
        "docs/stack.schema.json": text(schema(Deployment, namespace)) + "\n",
    }


if __name__ == "__main__":
    for name, content in files().items():
        (ROOT / name).write_text(content, encoding="utf-8")
