"""Records of one run told from those an earlier run left behind."""

from typing import Any

from bucolic.pipeline.lineage import current

UPSTREAM = {"filter": (), "embed": ("filter",), "shard": ("filter", "embed"), "train": ("shard",)}


def records(**changes: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Records of one run of four stages, with changed ones."""
    return {
        "filter": {"inputs": {"photos": "0"}, "outputs": {"selection": "1"}},
        "embed": {"inputs": {"selection": "1"}, "outputs": {"vectors": "2"}},
        "shard": {"inputs": {"selection": "1", "vectors": "2"}, "outputs": {"shards": "3"}},
        "train": {"inputs": {"shards": "3"}, "outputs": {"model": "4"}},
        **changes,
    }


def test_records_of_one_run_are_current_in_the_graphs_order():
    """Where every input has its maker's digest, all stages are current."""
    given = dict(reversed(records().items()))
    assert current(UPSTREAM, given) == ("filter", "embed", "shard", "train")


def test_another_selection_puts_all_behind_it_out_of_date():
    """Train still agrees with the old shards, which do not agree with the new selection."""
    new = {"inputs": {"photos": "0"}, "outputs": {"selection": "9"}}
    assert current(UPSTREAM, records(filter=new)) == ("filter",)


def test_a_missing_record_stops_what_needs_it():
    """A stage that failed has no record: what other vectors would have made is not known."""
    given = records()
    del given["embed"]
    assert current(UPSTREAM, given) == ("filter",)


def test_the_same_output_made_anew_keeps_what_is_behind_it():
    """A stage run again with the same bytes leaves later stages current; sources do not matter."""
    again = {"inputs": {"photos": "8"}, "outputs": {"selection": "1"}, "figures": {}}
    assert len(current(UPSTREAM, records(filter=again))) == 4
