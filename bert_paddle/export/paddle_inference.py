"""A model for Paddle Inference: a program file and a parameter file."""

import warnings
from pathlib import Path

from bert_paddle.export import hugging_face
from bert_paddle.export.sample import INPUTS
from bert_paddle.export.source import ExportSource

NAME = "model"  # the files' name without .json and .pdiparams


def write(source: ExportSource, folder: Path) -> None:
    """Write model.json (the program) and model.pdiparams (the weights), and also the configuration
    and the tokenizer.

    The program takes the three INPUTS, int64 [batch, length] with both sizes variable, and returns
    float32 logits [batch, classes].
    """
    import paddle

    class ExportWrapper(paddle.nn.Layer):
        """The model with the input order shared by all export formats (INPUTS)."""

        def __init__(self, model):
            super().__init__()
            self.model = model

        def forward(self, input_ids, attention_mask, token_type_ids):
            return self.model(
                input_ids, token_type_ids=token_type_ids, attention_mask=attention_mask
            )

    layer = ExportWrapper(source.model)
    layer.eval()
    spec = [paddle.static.InputSpec([None, None], "int64", name) for name in INPUTS]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # from tracing; a user cannot act on them
        static = paddle.jit.to_static(layer, input_spec=spec, full_graph=True)
        paddle.jit.save(static, str(folder / NAME))
    hugging_face.write_config_and_tokenizer(source, folder)
