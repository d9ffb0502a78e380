"""The Python API in thirty lines: fine-tune on film reviews, load the model, predict.

    python examples/classify_reviews.py all-minilm-l6-v2 demo_data out

The arguments are a pretrained model (a folder or a name), a folder with SST-2's files (such
as that of `python scripts/make_demo_data.py demo_data/SST-2`), and a folder for the run.
"""

import sys

from bert_paddle import api
from bert_paddle.common.errors import UserError


def main(model: str, data_dir: str, output_dir: str) -> None:
    # Every flag of `bert-paddle glue` is a keyword argument.
    run = api.fine_tune(
        "SST-2",
        model_name_or_path=model,
        data_dir=data_dir,
        output_dir=output_dir,
        max_seq_length=64,
        batch_size=32,
        max_steps=30,
        logging_steps=10,
        overwrite_output_dir=True,
    )
    print(f"accuracy {run.results['eval_accuracy']:.3f}, model in {run.model_dir}")

    classifier = api.load(run.model_dir)
    for text in ("what a gripping film !", "the plot is dull ."):
        prediction = classifier.predict([text])[0]
        probability = prediction.probabilities[prediction.label]
        print(f"{prediction.label} ({probability:.3f}): {text}")

    try:
        classifier.predict(["a premise"], pairs=["a hypothesis"])
    except UserError as error:  # the programs print it as `error: ...`
        print(f"refused: {error}")


if __name__ == "__main__":
    main(*sys.argv[1:4])
