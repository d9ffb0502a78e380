"""Flags of PaddleNLP's and Hugging Face's programs that have another form here, or none.

People come with their command lines: each of these flags is translated into ours, ignored with one
line that says why nothing is lost, or refused with what to do instead. docs/FLAGS.md lists them.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from bert_paddle.common.flag_values import NO_VALUE, convert

# Takes the text of the flag and the texts of all flags that are given in the same place, by name;
# returns texts of ours by name. Raises ValueError with a message that continues "--name TEXT".
Translate = Callable[[str, Mapping[str, str]], Mapping[str, str]]


@dataclass(frozen=True)
class PeerFlag:
    """name: without dashes. help: what it is here, for --help and docs/FLAGS.md. note: what is said
    when it is given; "": nothing. has_effect: whether it stands for flags of ours; --help lists
    only these."""

    name: str
    help: str
    translate: Translate
    note: str = ""
    has_effect: bool = True


def same(name: str, ours: str) -> list[PeerFlag]:
    """Another name of our flag `ours`."""
    return [PeerFlag(name, f"--{ours}", lambda text, given: {ours: text})]


def ignored(names: str, why: str) -> list[PeerFlag]:
    """Flags that change nothing here, whatever their value. names: separated by blanks."""
    return [
        PeerFlag(name, f"ignored: {why}", lambda text, given: {}, f"ignored: {why}", False)
        for name in names.split()
    ]


def refused(names: str, what: str, unless: str = "") -> list[PeerFlag]:
    """Flags that cannot be honoured, unless they have a value that asks for nothing. what: what to
    do instead. unless: such values, separated by blanks."""

    def translate(text: str, given: Mapping[str, str]) -> Mapping[str, str]:
        if ("1" if text == NO_VALUE else text.lower()) in unless.split():
            return {}
        raise ValueError(f"is not supported: {what}")

    return [
        PeerFlag(name, f"refused: {what}", translate, has_effect=False) for name in names.split()
    ]


def is_true(text: str) -> bool:
    """The value of a switch. Raises ValueError."""
    return convert({"kind": "bool"}, text)


_OFF = "0 false no off none"


def _half_precision(dtype: str, other: str) -> Translate:
    def translate(text: str, given: Mapping[str, str]) -> Mapping[str, str]:
        if is_true(text):
            return {"use_amp": "1", "amp_dtype": dtype}
        return {} if is_true(given.get(other, "0")) else {"use_amp": "0"}

    return translate


def _optim(text: str, given: Mapping[str, str]) -> Mapping[str, str]:
    if text.lower() not in ("adamw", "adamw_torch", "adamw_torch_fused", "adamw_hf", "lamb"):
        raise ValueError("is not supported: the optimizers here are adamw and lamb (--optimizer)")
    return {"optimizer": "lamb" if text.lower() == "lamb" else "adamw"}


def _report_to(text: str, given: Mapping[str, str]) -> Mapping[str, str]:
    if text.lower() == "none":
        return {}
    if text.lower() not in ("visualdl", "all"):
        raise ValueError("is not supported: give --report_to visualdl, or none")
    if "output_dir" not in given and not {"logging_dir", "visualdl_dir"} & set(given):
        raise ValueError("needs --logging_dir FOLDER")
    if {"logging_dir", "visualdl_dir"} & set(given):
        return {}
    return {"visualdl_dir": f"{given['output_dir'].rstrip('/')}/runs"}


def _logging_dir(text: str, given: Mapping[str, str]) -> Mapping[str, str]:
    return {} if given.get("report_to", "").lower() == "none" else {"visualdl_dir": text}


def _evaluate_during_training(text: str, given: Mapping[str, str]) -> Mapping[str, str]:
    return {"eval_strategy": "steps"} if is_true(text) else {}


def _one_column(text: str, given: Mapping[str, str]) -> Mapping[str, str]:
    if "," in text:
        raise ValueError("names several columns: give --text_column and --text_pair_column")
    return {"text_column": text}


def _metric(text: str, given: Mapping[str, str]) -> Mapping[str, str]:
    name = text.lower().removeprefix("eval_")
    names = {"matthews_correlation": "matthews", "spearmanr": "spearman", "mcc": "matthews"}
    if name != "combined_score":
        return {"metric": names.get(name, name)}
    task = given.get("task_name", "").lower().replace("-", "")
    if task and task not in ("mrpc", "qqp", "stsb"):
        raise ValueError("is the mean of two metrics, and this task has one: omit it")
    return {}


def _percentage(text: str, given: Mapping[str, str]) -> Mapping[str, str]:
    try:
        return {"validation_share": str(float(text) / 100)}
    except ValueError:
        raise ValueError(f"must be a number, not {text!r}") from None


def _cpu(text: str, given: Mapping[str, str]) -> Mapping[str, str]:
    return {"device": "cpu"} if is_true(text) else {}


def _checkpointing(text: str, given: Mapping[str, str]) -> Mapping[str, str]:
    if text.lower() == "epoch":
        return {"save_strategy": "epoch"}
    return {"save_strategy": "steps", "save_steps": text}


_OURS = "this package's own AdamW or LAMB"
TRAINING: tuple[PeerFlag, ...] = (
    PeerFlag("fp16", "--use_amp with --amp_dtype float16", _half_precision("float16", "bf16")),
    PeerFlag("bf16", "--use_amp with --amp_dtype bfloat16", _half_precision("bfloat16", "fp16")),
    PeerFlag("optim", f"--optimizer: adamw_torch, adamw_hf, ... are {_OURS}", _optim, _OURS),
    PeerFlag("report_to", "visualdl: --visualdl_dir OUTPUT_DIR/runs; none: no log", _report_to),
    PeerFlag("logging_dir", "--visualdl_dir, unless --report_to is none", _logging_dir),
    *same("amp", "use_amp"),
    *same("fp16_opt_level", "amp_level"),
    *same("gradient_checkpointing", "recompute"),
    *same("dataloader_num_workers", "num_workers"),
    *same("num_warmup_steps", "warmup_steps"),
    *same("warmup_proportion", "warmup_ratio"),
    *same("per_gpu_train_batch_size", "batch_size"),
    *same("per_gpu_eval_batch_size", "eval_batch_size"),
    PeerFlag("no_cuda", "--device cpu", _cpu),
    PeerFlag("use_cpu", "--device cpu", _cpu),
    PeerFlag("evaluate_during_training", "--eval_strategy steps", _evaluate_during_training),
    PeerFlag("checkpointing_steps", "--save_steps N, or --save_strategy epoch", _checkpointing),
    *ignored("overwrite_cache", "cached rows are recognized by the content of their files"),
    *ignored("pad_to_max_length", "rows are padded to the longest of their batch; same results"),
    *ignored("preprocessing_num_workers", "rows are tokenized by one fast tokenizer"),
    *ignored("use_fast_tokenizer use_slow_tokenizer", "there is one tokenizer"),
    *ignored("disable_tqdm", "a progress bar is drawn only in a terminal"),
    *ignored("log_level log_level_replica log_on_each_node", "only rank 0 prints"),
    *ignored("dataloader_pin_memory", "batches are copied to the GPU without waiting"),
    *ignored("remove_unused_columns", "only the columns that are used are read"),
    *ignored("save_safetensors", "weights are always saved as safetensors"),
    *ignored("ddp_find_unused_parameters local_rank local-rank", "ranks are found by themselves"),
    *ignored("eval_accumulation_steps prediction_loss_only", "only logits are kept"),
    *ignored("trust_remote_code", "no code of a model is ever run"),
    *ignored("logging_nan_inf_filter", "a loss that is not finite ends the run"),
    *ignored("fp16_full_eval bf16_full_eval", "evaluation has the precision of training"),
    *ignored("logging_first_step", "the first log line comes after --logging_steps steps"),
    *ignored("shuffle_train_dataset", "rows are always shuffled, anew in each epoch"),
    *refused("max_grad_value", "give --max_grad_norm"),
    *refused("cache_dir", "models and data are kept under $BERT_PADDLE_HOME: set it"),
    *refused("config_name", "the configuration is that of --model_name_or_path"),
    *refused("model_revision", "download it and give its folder", "main"),
    *refused("use_auth_token token hub_token", "download the model and give its folder", _OFF),
    *refused(
        "push_to_hub push_to_hub_model_id hub_model_id",
        "bert-paddle export --format hf writes a folder that the hub takes",
        _OFF,
    ),
    *refused("with_tracking", "give --visualdl_dir", _OFF),
    *refused("profiler_options", "give --profile N"),
    *refused("fuse_transformer fused_linear", "give --flash_attention", _OFF),
    *refused("cinn torch_compile jit_mode_eval", "give --to_static", _OFF),
    *refused("deepspeed fsdp sharding", "a BERT fits on one card: give --n_gpu N", _OFF),
    *refused("tensor_parallel_degree pipeline_parallel_degree", "give --n_gpu N", "1 -1"),
    *refused("auto_find_batch_size", "give --batch_size", _OFF),
    *refused("data_seed", "--seed governs the order of the data too"),
    *refused("do_export export_model_dir", "bert-paddle export writes the model", _OFF),
    *refused("logging_strategy", "give --logging_steps N", "steps"),
)
_NO_SMOOTHING = refused("label_smoothing_factor", "the loss is the cross-entropy", "0 0.0")
_FILES = "save it as CSV or JSON lines: --train_file, --validation_file (docs/OWN_DATA.md)"
GLUE: tuple[PeerFlag, ...] = (
    *TRAINING,
    *same("max_length", "max_seq_length"),
    PeerFlag("metric_for_best_model", "--metric, with or without eval_", _metric),
    PeerFlag(
        "validation_split_percentage",
        "--validation_share, a hundredth of it",
        _percentage,
    ),
    PeerFlag("metric_name", "--metric", _metric),
    PeerFlag("text_column_name", "--text_column", _one_column),
    PeerFlag("text_column_names", "--text_column", _one_column),
    *same("label_column_name", "label_column"),
    *same("do_regression", "regression"),
    *ignored("text_column_delimiter remove_columns", "only the columns that are named are read"),
    *ignored("ignore_mismatched_sizes", "a classifier of another size is always replaced"),
    *refused("dataset_name dataset_config_name", f"no data sets of Hugging Face's hub: {_FILES}"),
    *refused("language train_language", f"XNLI is not a task here: {_FILES}"),
)
_SHARDS = "make shards of it with bert-paddle create-data, then give --input_dir"
CLM: tuple[PeerFlag, ...] = (*TRAINING, *_NO_SMOOTHING)
PRETRAIN: tuple[PeerFlag, ...] = (
    *TRAINING,
    *_NO_SMOOTHING,
    *refused("dataset_name dataset_config_name", f"no data sets of Hugging Face's hub: {_SHARDS}"),
    *refused("train_file validation_file", _SHARDS),
    *refused("validation_split_percentage", "give bert-paddle create-data --test_share"),
    *refused("max_train_samples", "give --max_steps, or a folder with fewer shards"),
    *refused("line_by_line", "give bert-paddle create-data --document_format line", _OFF),
    *refused("max_seq_length", "give it to bert-paddle create-data"),
    *refused("config_overrides", "give --hidden_size, --num_hidden_layers and the other sizes"),
    *refused("metric_for_best_model", "the best step has the lowest loss", "loss eval_loss"),
    *refused("greater_is_better", "the best step has the lowest loss", _OFF),
)
CREATE: tuple[PeerFlag, ...] = (
    *same("input_file", "input_files"),
    *same("bert_model", "vocab_file"),
    *refused("output_file", "shards are files in a folder: give --output_dir"),
)
