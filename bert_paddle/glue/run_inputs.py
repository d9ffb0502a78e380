"""What a fine-tuning run works with: its tokenizer, its task and data, and its model."""

from pathlib import Path

from bert_paddle.common import runtime
from bert_paddle.common.run_log import RunLog
from bert_paddle.distributed import collectives
from bert_paddle.glue import layer_settings, loss
from bert_paddle.glue.args import GlueArgs
from bert_paddle.glue.best_metric import with_metric
from bert_paddle.glue.custom import load as custom_data
from bert_paddle.glue.data.load import RawData, read_task_data
from bert_paddle.glue.tasks import Task, get_task
from bert_paddle.models import classifier, compute_mode, hub, load_weights, model_config
from bert_paddle.models.added_tokens import check_embeddings
from bert_paddle.models.forward_pass import ForwardPass
from bert_paddle.models.model_config import MULTI_LABEL
from bert_paddle.models.tokenizer import Tokenizer, load_tokenizer


def load_run_tokenizer(args: GlueArgs, model_dir: Path) -> Tokenizer:
    """The model's tokenizer, or that of --vocab_file or --tokenizer_name_or_path."""
    folder, vocab_file = model_dir, args.vocab_file
    if name := args.tokenizer_name_or_path:
        folder, vocab_file = collectives.run_on_main_first(
            lambda: hub.find_tokenizer(name, runtime.bert_paddle_home())
        )
    return load_tokenizer(folder, vocab_file, args.do_lower_case)


def read_data(
    args: GlueArgs, model_dir: Path, tokenizer: Tokenizer, log: RunLog
) -> tuple[Task, RawData]:
    """The task and its examples. Where possible, a model whose sizes are incompatible is reported
    before files are read or downloaded."""
    config = model_config.read_config(model_dir)
    several_labels = args.task_name is None and (not args.do_train or args.asks_for_multi_label)
    if not (args.do_train and config.problem_type == MULTI_LABEL):  # it gets a new head
        model_config.check_classifier_kind(config, multi_label=several_labels)
    if args.do_train:
        layer_settings.check_layers(args, config.values["num_hidden_layers"])
    check_embeddings(tokenizer.added_tokens, config.values["vocab_size"], model_dir)

    def check_sizes(is_pair: bool) -> None:
        vocab_size = len(tokenizer)
        classifier.check_sizes(config.values, vocab_size, args.max_seq_length, is_pair, model_dir)

    if args.task_name is None:
        check_sizes(is_pair=False)
        task, data = custom_data.read_custom_data(args, config, log)
        check_sizes(task.is_pair)
        return task, data
    task = with_metric(get_task(args.task_name), args.metric)
    check_sizes(task.is_pair)
    data = read_task_data(task, args, log)
    if args.do_predict and args.test_file:
        custom_data.add_test_file(task, args, data, log)
    return task, data


def build_model(args: GlueArgs, task: Task, model_dir: Path, log: RunLog) -> ForwardPass:
    """The classifier with the weights of `model_dir`, in evaluation mode."""
    # The result of load_weights() is not bound to a name, so that its memory, as much as the
    # model's, is freed.
    loaded = classifier.build_classifier(
        load_weights.load_weights(model_dir), task.labels, args.seed, need_head=not args.do_train
    )
    log.note("; ".join([f"model: {model_dir}", *loaded.notes]))
    if args.do_train:
        layer_settings.apply_to_model(args, loaded.model, args.seed, log)
    loaded.model.eval()
    by_kernels = compute_mode.set_compute_mode(loaded.model, args, log)
    products = compute_mode.choose_products(args, by_kernels, log)
    return loss.forward_pass(loaded.model, by_kernels, products)
