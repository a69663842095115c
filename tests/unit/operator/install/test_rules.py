"""Rules grant what rights say: no more, no less, in as few words as there are."""

from __future__ import annotations

import itertools
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from hpi_operator.install.rules import VERBS, rules_of
from hpi_operator.kube.rights import Right

RIGHTS = st.builds(
    Right,
    st.sampled_from(VERBS),
    st.sampled_from(["", "apps", "hpi.paddlex.io"]),
    st.sampled_from(["pods", "nodes", "deployments", "hpinodes/status"]),
    st.none(),
    st.sampled_from([None, "a", "b"]),
)


def granted(rules: list[dict[str, Any]]) -> list[Right]:
    return [
        Right(verb, group, resource, None, name)
        for rule in rules
        for group, resource, verb, name in itertools.product(
            rule["apiGroups"], rule["resources"], rule["verbs"], rule.get("resourceNames", [None])
        )
    ]


@given(st.sets(RIGHTS))
def test_rules_grant_exactly_the_rights_each_once(rights: set[Right]) -> None:
    found = granted(rules_of(rights))

    assert len(found) == len(set(found))
    assert set(found) == rights


@given(st.lists(RIGHTS), st.randoms())
def test_the_order_of_rights_does_not_matter(rights: list[Right], random: Any) -> None:
    shuffled = list(rights)
    random.shuffle(shuffled)

    assert rules_of(shuffled) == rules_of(rights)


def test_resources_with_the_same_verbs_share_a_rule() -> None:
    rights = [Right(verb, "apps", resource) for resource in ("a", "b") for verb in ("watch", "list")]

    assert rules_of([*rights, Right("get", "apps", "c", None, "one")]) == [
        {"apiGroups": ["apps"], "resources": ["a", "b"], "verbs": ["list", "watch"]},
        {"apiGroups": ["apps"], "resources": ["c"], "resourceNames": ["one"], "verbs": ["get"]},
    ]
