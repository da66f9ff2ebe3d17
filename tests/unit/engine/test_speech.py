from __future__ import annotations

from parrot.engine.speech import speak
from parrot.engine.toy_tokenizer import ToyTokenizer
from parrot.sampling import SamplingConfig

GREEDY = SamplingConfig(temperature=0, max_gen_length=1000)
PROMPT = [1, 2, 3]


def test_the_same_prompt_and_sampling_give_the_same_output() -> None:
    assert speak(PROMPT, GREEDY) == speak(list(PROMPT), GREEDY)


def test_the_output_is_known_for_good() -> None:
    """It must not depend on the process, the machine or the version of Python."""
    assert speak(PROMPT, GREEDY).text.startswith("nap nut dew kid mud sly due art nor ebb car ")


def test_other_prompts_and_other_seeds_give_other_outputs() -> None:
    assert speak([1, 2, 4], GREEDY).text != speak(PROMPT, GREEDY).text
    one, two = (speak(PROMPT, SamplingConfig(temperature=1, seed=seed)).text for seed in (1, 2))
    assert one != two


def test_chance_is_out_of_the_game_at_temperature_zero() -> None:
    assert speak(PROMPT, GREEDY.model_copy(update={"seed": 5, "top_p": 0.5})) == speak(PROMPT, GREEDY)


def test_a_smaller_length_cuts_the_same_output_shorter() -> None:
    whole, short = speak(PROMPT, GREEDY), speak(PROMPT, GREEDY.model_copy(update={"max_gen_length": 5}))
    assert whole.finish_reason == "stop"
    assert short.finish_reason == "length"
    assert short.tokens == whole.tokens[:5]


def test_it_goes_on_from_any_place_as_it_would_have_gone_on_by_itself() -> None:
    whole = speak(PROMPT, GREEDY)
    assert whole.finish_reason == "stop"
    for said in range(len(whole.tokens) + 1):
        rest = speak([*PROMPT, *whole.tokens[:said]], GREEDY)
        assert (whole.tokens[:said] + rest.tokens, rest.finish_reason) == (whole.tokens, "stop")


def test_it_goes_on_to_the_full_length_if_the_end_mark_is_ignored() -> None:
    sampling = GREEDY.model_copy(update={"ignore_tokenizer_eos": True})
    speech = speak(PROMPT, sampling)
    assert len(speech.tokens) == 1000
    assert speech.finish_reason == "length"


def test_stop_texts_and_stop_tokens_end_the_output_and_are_no_part_of_it() -> None:
    by_text = speak(PROMPT, GREEDY.model_copy(update={"stop": ("kid",)}))
    assert (by_text.text, by_text.finish_reason) == ("nap nut dew ", "stop")
    fourth = speak(PROMPT, GREEDY).tokens[3]
    by_token = speak(PROMPT, GREEDY.model_copy(update={"stop_token_ids": (fourth,)}))
    assert by_token == by_text


def test_tokens_stand_for_the_text() -> None:
    for sampling in (GREEDY, GREEDY.model_copy(update={"stop": ("id",)})):
        speech = speak(PROMPT, sampling)
        assert ToyTokenizer().decode(speech.tokens) == speech.text
