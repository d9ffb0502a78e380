"""The report of a run on texts: sampled texts over the training, perplexity, lengths in tokens."""

import html

import tiny_gpt2

from bert_paddle.clm import finetune
from bert_paddle.clm.args import parse_args
from bert_paddle.report import run_data, tables


def test_the_page_shows_samples_perplexity_and_epochs(tmp_path):
    texts = tmp_path / "texts.txt"
    texts.write_text("\n".join(tiny_gpt2.sentences(30)))
    out = tmp_path / "out"
    finetune.run(
        parse_args(
            [
                *("--model_name_or_path", str(tiny_gpt2.HF_DIR), "--train_file", str(texts)),
                *("--output_dir", str(out), "--save_strategy", "epoch", "--num_train_epochs", "2"),
                *("--sample_every", "1", "--sample_length", "8", "--sample_prompt", "The <b>"),
                *("--logging_steps", "1", "--n_gpu", "0"),
            ]
        )
    )
    run = run_data.read(out)
    samples = tables.samples(run)
    assert len(run.samples) == 8 and [step for step, _ in samples] == [str(i) for i in range(1, 9)]
    page = (out / "report.html").read_text("utf-8")
    assert "Sampled texts" in page and html.escape("The <b>") in page and "The <b>" not in page
    assert "Perplexity of masked tokens" not in page and "tokens per row, with the tokens" in page
    assert ">perplexity<" in page and "unigram_perplexity" in page
    run.samples = [{"step": i, "text": f"t{i}"} for i in range(1, 101)]
    shown = [int(step) for step, _ in tables.samples(run)]
    assert len(shown) == tables.MAX_SAMPLES and (shown[0], shown[-1]) == (1, 100)
