"""A host without a lab around it, for the tests of gitlab-ctl."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.lab.omnibus.gitlab_tree import GitLabTree, made


@pytest.fixture
def host() -> Iterator[GitLabTree]:
    with made("host") as (tree,):
        yield tree
