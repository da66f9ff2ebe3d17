"""What was learned can be read by people, and by a successor, who ignores what it cannot understand."""

from __future__ import annotations

import json
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from parrot.core.learning import FunctionLengths, LearnedLengths, Sketch, Speed
from parrot.wire.to_core import Usage
from tests.unit.core.making import make_generation

ALL = 1_000_000


def recalled(lengths: LearnedLengths) -> LearnedLengths:
    successor = LearnedLengths()
    successor.recall({name: text for name, text in lengths.learned(ALL).items() if text is not None})
    return successor


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 2**32), times=st.integers(1, 400))
def test_a_successor_expects_what_its_predecessor_did(seed: int, times: int) -> None:
    chance, lengths = random.Random(seed), LearnedLengths()
    for _ in range(times):
        usage = Usage(tokens_in=chance.randint(0, 9_000), tokens_cached=0, tokens_out=int(chance.lognormvariate(4, 1)))
        lengths.learn(make_generation(function=chance.choice("fg"), model=chance.choice([None, "m"])), usage)
    successor = recalled(lengths)
    for _ in range(50):  # and goes on as it would have
        for one in (make_generation(function=function, model=model, most=10**6) for function in "fgh" for model in (None, "m")):
            assert successor.expect(one) == pytest.approx(lengths.expect(one), rel=0.01)
            assert successor.computed(one) == pytest.approx(lengths.computed(one), rel=0.01)
            assert successor.prompt(one) == pytest.approx(lengths.prompt(one), rel=0.01)
        for one in (lengths, successor):
            one.learn(make_generation(function="f"), Usage(tokens_in=100, tokens_out=50))


def test_people_read_how_long_outputs_are() -> None:
    lengths = LearnedLengths()
    for tokens in range(1, 101):
        lengths.learn(make_generation(function="f", model="m"), Usage(tokens_in=120, tokens_cached=20, tokens_out=tokens))
    found = lengths.learned(ALL)
    assert found.keys() == {"length:f.x@m", "length:*"}
    about = json.loads(found["length:f.x@m"] or "")
    assert about["p50"] == pytest.approx(60, rel=0.15)  # the recent ones, which are longer, count more
    assert about["p90"] == pytest.approx(93, rel=0.15)
    assert about["mean"] == pytest.approx(58, rel=0.05)
    assert about["computed"] == 100


def test_quantiles_survive() -> None:
    chance, sketch = random.Random(1), Sketch()
    for _ in range(3_000):
        sketch.add(chance.lognormvariate(5, 1))
    again = FunctionLengths.read(FunctionLengths(sketch, 0.0, 0.0).text()).outputs
    for q in (0.1, 0.5, 0.9, 0.99):
        assert again.quantile(q) == pytest.approx(sketch.quantile(q), rel=0.16)  # a bucket, since weights are rounded
    assert again.seen == pytest.approx(sketch.seen, rel=0.01)


def test_a_text_stays_small() -> None:
    chance, sketch = random.Random(2), Sketch()
    for _ in range(10_000):
        sketch.add(chance.uniform(1, 1_000_000))
    assert len(FunctionLengths(sketch, 0.0, 0.0).text()) < 1_000


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 2**32), times=st.integers(0, 300))
def test_an_engine_is_as_fast_for_a_successor_as_it_was(seed: int, times: int) -> None:
    chance, speed = random.Random(seed), Speed()
    for _ in range(times):
        context = chance.uniform(100, 60_000)
        speed.learn_step(context, 50 * (0.01 + 1e-6 * context) * chance.uniform(0.8, 1.2), 50, 0)
        speed.learn_prefill(chance.randint(64, 4_000), chance.uniform(0.1, 0.5))
    again = Speed.read(speed.text())
    for _ in range(20):
        for context in (0, 1_000, 50_000):
            assert again.step(context) == pytest.approx(speed.step(context), rel=0.001, abs=1e-6)
        assert again.prefill(1_000) == pytest.approx(speed.prefill(1_000), rel=0.001)
        for one in (speed, again):
            one.learn_step(20_000, 2.0, 50, 0)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["1", "-1", "9999", "weight", "x", "y"]), inner, max_size=3)
    ),
    max_leaves=5,
)
LENGTH, SPEED = FunctionLengths(Sketch.of(5.0, {3: 1.0}), 0.0, 1.0).text(), Speed().text()


@settings(max_examples=300, deadline=None)
@given(kind=st.sampled_from([LENGTH, SPEED]), others=st.data())
def test_whatever_somebody_wrote_there_is_ignored_or_makes_sense(kind: str, others: st.DataObject) -> None:
    about = json.loads(kind)
    for name in others.draw(st.sets(st.sampled_from([*about, "steps", "novelty"]), min_size=1)):
        about[name] = others.draw(JSON)
    text = others.draw(st.sampled_from([json.dumps(about), json.dumps(about)[:20], "", "{}", "[]", "\ufffd"]))
    lengths = LearnedLengths()
    lengths.recall({"length:f.x": text, "length:*": text, "length": text, "": text, "speed:m": text})
    one = make_generation(function="f", most=300)
    assert 0 <= lengths.expect(one) <= 300
    try:
        speed = Speed.read(text)
    except ValueError:
        return
    assert 0 < speed.step(0) <= speed.step(1e6) < float("inf")
    assert 0 < speed.prefill(100) < float("inf")
