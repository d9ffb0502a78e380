"""Invented files of GLUE tasks, in the tasks' own layouts."""

from pathlib import Path

from tiny import WORDS

from bert_paddle.glue.tasks import TASKS, Column, Task


def write_task(task: Task, folder: Path, rows: int = 6) -> None:
    """All files of a task; labels alternate."""
    folder.mkdir(parents=True)
    for file in task.files:
        split = "train" if file.startswith("train") else "dev" if "dev" in file else "test"
        columns = task.columns(split)
        assert columns is not None
        named = [columns.text_a, columns.text_b, None if split == "test" else columns.label]
        header = [f"column {i}" for i in range(columns.count or 0)] or ["index"]
        places = [None if column is None else _place(column, header) for column in named]
        lines = ["\t".join(header)] if columns.header else []
        for i in range(rows):
            label = str(float(i % 5)) if task.is_regression else task.file_labels[i % 2]
            fields = [str(i)] * len(header)
            values = (f"the {WORDS[i]} sat", f"a dog ran on the {WORDS[-i]}", label)
            for place, value in zip(places, values, strict=True):
                if place is not None:
                    fields[place] = value
            lines.append("\t".join(fields))
        (folder / file).write_text("\n".join(lines) + "\n", encoding="utf-8")


def _place(column: Column, header: list[str]) -> int:
    """The index of a column, which is added to the header if it is given by name."""
    if isinstance(column, int):
        return column
    header.append(column if isinstance(column, str) else column[0])
    return len(header) - 1


def write_glue(root: Path, *names: str) -> Path:
    """The task folders of these tasks, by default of all."""
    for name in names or TASKS:
        write_task(TASKS[name], root / TASKS[name].folder)
    return root
