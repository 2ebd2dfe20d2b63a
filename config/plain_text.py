"""What YAML reads if the Linux package writes a value without quotes.

Its templates registry-config.yml.erb and gitlab.yml.erb write these so: `registry_http_addr`,
`token_realm`, `registry_issuer`, `registry_host`, `registry_api_url`, `gitlab_host`, `geo_node_name`, the
primary's `api_url` and `registry_notification_secret`. (Storage, notifications and database are JSON, the
registry's secret is in quotes.) Two readers follow: the registry's go-yaml (v2, which is YAML 1.1 and some of
1.2), and Psych, which is Rails' and that of the program on the node.
"""

from __future__ import annotations

import re

_WORDS = {"", "~", "null", "true", "false", "yes", "no", "on", "off", "y", "n"}
_OTHER_KINDS = re.compile(
    r"""
      [-+]?\.(inf|nan)
    | [-+]?0x[0-9a-f_]+ | [-+]?0b[01_]+ | [-+]?0o[0-7_]+       # whole numbers to other bases
    | [-+]?([0-9][0-9_]*(\.[0-9_]*)?|\.[0-9][0-9_]*)(e[-+]?[0-9]+)?    # 2024, 1_000, .5, 1., 1e5
    | [-+]?[0-9][0-9_]*(:[0-5]?[0-9])+(\.[0-9_]*)?              # to the base 60: 10:50
    | [0-9]{4}-[0-9]{1,2}-[0-9]{1,2}([t ].*)?                   # a date
    """,
    re.VERBOSE | re.IGNORECASE,
)


def is_text(value: str) -> bool:
    """Whether every reader reads `key: value` as this string. For values of letters, digits and ``._:/-``."""
    if value.lower() in _WORDS or _OTHER_KINDS.fullmatch(value):
        return False
    # A leading dash or colon begins a list or a map, unless another character follows directly.
    return not re.match(r"[-:?]?$", value)
