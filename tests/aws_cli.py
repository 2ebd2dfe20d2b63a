"""A stand-in for the AWS command line, made from the descriptions that the real one is made from (botocore's).

It knows what the pages of docs/ need: `aws SERVICE OPERATION --PARAMETER VALUE…`, --region, --query and --output
text. A value is text, JSON, the shorthand A=b,C=d, or file://NAME; an unknown name is a KeyError.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import boto3
import jmespath  # type: ignore[import-untyped]
from botocore import xform_name
from botocore.exceptions import ClientError
from botocore.model import Shape, StructureShape

SERVICES = {"s3api": "s3"}


def main(service: str, operation: str, *options: str) -> None:
    """Do it and print the answer; AWS' refusal is the exit message."""
    provided = {
        name.removeprefix("--"): value for name, value in zip(options[::2], options[1::2], strict=True)
    }
    query, output = provided.pop("query", None), provided.pop("output", "json")
    client: Any = boto3.client(SERVICES.get(service, service), region_name=provided.pop("region", None))  # type: ignore[call-overload]
    method = operation.replace("-", "_")
    model = client.meta.service_model.operation_model(client.meta.method_to_api_mapping[method])
    members = {xform_name(name, "-"): (name, shape) for name, shape in model.input_shape.members.items()}
    asked = {members[name][0]: value_of(text, members[name][1]) for name, text in provided.items()}
    try:
        answer = getattr(client, method)(**asked)
    except ClientError as error:
        sys.exit(str(error))
    answer.pop("ResponseMetadata")
    show(jmespath.search(query, answer) if query else answer, output)


def value_of(text: str, shape: Shape) -> Any:
    """What a parameter's text means for its shape."""
    if text.startswith("file://"):
        text = Path(text.removeprefix("file://")).read_text()
    if shape.type_name in {"structure", "list", "map"} and text.lstrip()[:1] in {"{", "["}:
        return json.loads(text)
    if isinstance(shape, StructureShape):
        pairs = (pair.split("=", 1) for pair in text.split(","))
        return {name: value_of(value, shape.members[name]) for name, value in pairs}
    return text == "true" if shape.type_name == "boolean" else text


def show(answer: Any, output: str) -> None:
    """JSON, or a line for each row with tabs between its cells."""
    if output == "json":
        print(json.dumps(answer, indent=4, default=str))
        return
    rows = answer if isinstance(answer, list) else [answer]
    for row in rows:
        print("\t".join(str(cell) for cell in (row if isinstance(row, list) else [row])))


if __name__ == "__main__":
    main(*sys.argv[1:])
