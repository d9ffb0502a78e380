"""Choosing tokens and generating: the settings, the cache, prompts alone and in a batch."""

import numpy as np
import paddle
import pytest
import tiny_gpt2

from bert_paddle.clm.sampling import SamplingSettings, choose_token, generate
from bert_paddle.common.errors import UserError
from bert_paddle.models import gpt2, gpt2_weights

LOGITS = np.log(np.array([0.5, 0.25, 0.15, 0.1], np.float32))


@pytest.fixture(scope="module")
def model():
    loaded = gpt2_weights.load_gpt2_weights(tiny_gpt2.HF_DIR)
    return gpt2.build_gpt2(loaded.config, loaded.tensors)


def shares(settings: SamplingSettings, text=(), logits=LOGITS, draws: int = 4000) -> np.ndarray:
    rng = np.random.default_rng(0)
    tokens = [choose_token(logits, text, rng, settings) for _ in range(draws)]
    return np.bincount(tokens, minlength=len(logits)) / draws


def test_tokens_are_drawn_by_their_probabilities():
    everything = SamplingSettings(top_k=0, top_p=1.0)
    np.testing.assert_allclose(shares(everything), [0.5, 0.25, 0.15, 0.1], atol=0.03)


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        (SamplingSettings(top_k=2, top_p=1.0), [2 / 3, 1 / 3, 0, 0]),
        (SamplingSettings(top_k=0, top_p=0.6), [2 / 3, 1 / 3, 0, 0]),
        (SamplingSettings(top_k=0, top_p=0.5), [1, 0, 0, 0]),
        (SamplingSettings(top_k=3, top_p=0.8), [2 / 3, 1 / 3, 0, 0]),  # after top-k: 0.83
        (SamplingSettings(temperature=0), [1, 0, 0, 0]),
        (SamplingSettings(top_k=0, top_p=1.0, temperature=0.5), [0.725, 0.181, 0.065, 0.029]),
    ],
)
def test_each_setting_leaves_the_tokens_it_should(settings, expected):
    np.testing.assert_allclose(shares(settings), expected, atol=0.03)


def test_ties_at_the_kth_token_are_kept():
    logits = np.zeros(4, np.float32)
    assert (shares(SamplingSettings(top_k=2, top_p=1.0), logits=logits) > 0.2).all()


def test_a_repeated_token_is_less_probable():
    greedy = SamplingSettings(temperature=0, repetition_penalty=2.0)
    logits = np.array([2.0, 1.5, -1.0, -1.5], np.float32)
    rng = np.random.default_rng(0)
    assert choose_token(logits, [0], rng, greedy) == 1
    assert choose_token(logits, [0, 1], rng, greedy) == 0
    negative = np.array([-1.0, -1.5], np.float32)
    assert choose_token(negative, [0], rng, greedy) == 1


def continue_text(model, prompt, seeds, settings, eos=None) -> list[list[int]]:
    rngs = [np.random.default_rng(seed) for seed in seeds]
    rows = list(generate(model, prompt, rngs, settings, eos))
    return [[row[i] for row in rows if row[i] is not None] for i in range(len(seeds))]


def test_greedy_tokens_are_those_of_the_whole_text_computed_anew(model):
    settings = SamplingSettings(12, temperature=0)
    (found,) = continue_text(model, [340, 5, 9], [0], settings)
    text = [340, 5, 9]
    for token in found:
        with paddle.no_grad():
            hidden = gpt2.hidden_states(model, paddle.to_tensor([text]))
            assert token == int(gpt2.logits(model, hidden[:, -1]).argmax())
        text.append(token)


def test_samples_differ_by_their_seeds_and_not_by_what_is_beside_them(model):
    settings = SamplingSettings(15)
    together = continue_text(model, [340, 7], [1, 2, 3], settings)
    assert together == [continue_text(model, [340, 7], [seed], settings)[0] for seed in (1, 2, 3)]
    assert len({tuple(text) for text in together}) == 3


def test_sampling_is_not_silently_greedy_and_leaves_paddles_state(model):
    paddle.seed(5)
    expected = paddle.rand([4]).numpy()
    paddle.seed(5)
    texts = continue_text(model, [340], range(4), SamplingSettings(10))
    assert len({tuple(text) for text in texts}) > 1
    assert np.array_equal(paddle.rand([4]).numpy(), expected)


def test_a_text_ends_at_eos_and_the_others_go_on(model):
    settings = SamplingSettings(30)
    free = continue_text(model, [340], [1, 2], settings)
    eos = free[0][4]
    ended = continue_text(model, [340], [1, 2], settings, eos)
    assert ended[0] == free[0][: free[0].index(eos) + 1]
    stop = free[1].index(eos) + 1 if eos in free[1] else 30
    assert ended[1] == free[1][:stop]


def test_only_tokens_of_the_vocabulary_are_chosen(model):
    rows = generate(model, [340], [np.random.default_rng(0)], SamplingSettings(40), None, 9)
    assert all(row[0] < 9 for row in rows)


def test_more_tokens_than_positions_are_refused_beforehand(model):
    with pytest.raises(UserError, match="the prompt has 10 tokens, and 55 new ones"):
        next(generate(model, [5] * 10, [np.random.default_rng(0)], SamplingSettings(55), None))
    assert len(
        list(generate(model, [5] * 10, [np.random.default_rng(0)], SamplingSettings(54), None))
    )
