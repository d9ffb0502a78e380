"""Fuzz one target with atheris: `python run_target.py TARGET FINDINGS [libFuzzer's flags]`.

An exception that breaks the rule of targets.py is kept as a file in FINDINGS, once for each place
in the code, and the run goes on; a crash, a hang or a full memory ends it, and libFuzzer keeps
the input there. scripts/fuzz.sh is what starts this.
"""

import sys
import tempfile
import traceback
from pathlib import Path

import atheris

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
with atheris.instrument_imports(include=["bert_paddle"]):
    import seeds
    import targets


def main() -> None:
    name, findings = sys.argv[1], Path(sys.argv[2])
    corpus = findings / "corpus"
    corpus.mkdir(parents=True, exist_ok=True)
    for i, content in enumerate(seeds.seeds(name)):
        (corpus / f"seed_{i}").write_bytes(content)
    known: set[str] = set()
    place = Path(tempfile.mkdtemp(prefix="fuzz_"))  # scripts/fuzz.sh clears it away

    def once(data: bytes) -> None:
        try:
            targets.survives(name, data, place)
        except Exception as error:
            frames = traceback.extract_tb(error.__traceback__)
            ours = [f for f in frames if "bert_paddle" in f.filename] or list(frames)
            where = f"{type(error).__name__}_{Path(ours[-1].filename).stem}_{ours[-1].lineno}"
            if where not in known:
                known.add(where)
                (findings / where).write_bytes(data)
                print(f"finding {where}: {str(error)[:200]!r}", file=sys.stderr, flush=True)

    atheris.Setup([sys.argv[0], *sys.argv[3:], str(corpus)], once)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
