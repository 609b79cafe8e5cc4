# SPDX-License-Identifier: Apache-2.0
"""What the gateway says of migrations: metrics, log records, its viewers."""

from tests.testbed import migration


def counts(made):
    """{(kind, result): how many} of the migrations so far."""
    reading = made.metrics()
    kinds = (
        migration.SEAMLESS,
        migration.SEMI_SEAMLESS,
        migration.SWITCH_HOST,
    )
    results = (migration.COMPLETED, migration.FAILED, migration.CANCELLED)
    found = {
        (kind, result): reading.sum(
            "spicegate_migrations_total", kind=kind, result=result
        )
        for kind in kinds
        for result in results
    }
    return {key: int(count) for key, count in found.items() if count}


def pending(made):
    return made.metrics().sum("spicegate_migrations_pending")


def refusals(made):
    """{reason: how many links were refused for it}."""
    refused = made.metrics().by("spicegate_links_refused_total", "reason")
    return {reason: int(n) for reason, n in refused.items() if n}


def guarded(made):
    """{rule: how many messages the guard has refused}."""
    refused = made.metrics().by("spicegate_guard_refusals_total", "rule")
    return {rule: int(n) for rule, n in refused.items() if n}


def open_channels(made):
    return int(made.metrics().sum("spicegate_channels_open"))


def place(vm, plain=False):
    """Where the gateway reaches a machine, as its log records have it."""
    return f"{vm.address}:{vm.port if plain else vm.tls_port}"
